"""Options that several commands take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

RayCluster = Annotated[
    str | None,
    typer.Option(
        "--ray", metavar="ADDRESS", help="Ask on a Ray cluster: its address, `auto` for this machine's, `local` to start one."
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        "-r",
        help="Recipe: a file, or a name that `trlt recipe list` shows; without one, the defaults (the paper's).",
    ),
]
Overrides = Annotated[
    Sequence[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe; repeatable.")
]
ModelName = Annotated[
    str | None,
    typer.Option(
        help="Folder (of a model, an adapter or a run), hub id, or `miniature` (ships with trlt); default: the recipe's, else "
        "Qwen2.5-VL-7B."
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Discard existing rows instead of resuming.")]
RetryErrors = Annotated[
    bool,
    typer.Option("--retry-errors", help="Ask again where a video couldn't be read, and grade answers again that couldn't be."),
]
Processes = Annotated[
    int, typer.Option(help="Processes that share the work; 0: one per local GPU, else one.", min=0, show_default=False)
]
Servers = Annotated[
    Sequence[str],
    typer.Option(
        "--server",
        help="OpenAI-compatible server of the model (vLLM, SGLang), http://host:port; repeatable. Key: TRLT_API_KEY.",
    ),
]
OwnVllm = Annotated[
    int | None,
    typer.Option(
        "--vllm",
        metavar="[N]",
        help="Start N vLLM servers of the model, a GPU each, and end them afterwards; without N, one per local GPU, else one "
        "on the CPU. Python of vLLM's environment: TRLT_VLLM_PYTHON, or the recipe's `train.vllm.python`.",
        min=0,
        show_default=False,
    ),
]
SampleData = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Samples from `trlt prepare`; or questions of your own: JSONL, JSON, CSV, TSV, Parquet, hf://org/name[:split].",
    ),
]
ColumnMap = Annotated[
    str | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN,…",
        help="Own table: which column holds which field, where its name doesn't tell, e.g. question=prompt,video=path.",
    ),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that can't be used, and list them.")]
SkipMissing = Annotated[bool, typer.Option("--skip-missing", help="Leave out rows whose video isn't there, and list them.")]
Think = Annotated[bool | None, typer.Option("--think/--no-think", help="Ask for reasoning before the answer.")]
ProbedSamples = Annotated[Path | None, typer.Option(help="Samples that were probed; default: the file that the probe noted.")]
StoreFolder = Annotated[Path | None, typer.Option(help="Folder of the frame store; default: the recipe's `video.store`.")]
