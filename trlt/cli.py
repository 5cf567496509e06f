"""The command line: one thin function a command, and the only place where an error becomes an exit code.

Imports nothing heavy: `trlt --help` and shell completion answer at once. What a command needs is imported in its body.
"""

from __future__ import annotations

import atexit
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer._click.exceptions import NoSuchOption
from typer.core import TyperGroup

from trlt import __version__
from trlt.commands._advice import drop_advice
from trlt.commands._default import DefaultGroup
from trlt.disk import disk_error
from trlt.errors import Interrupted, TrltError, UnforeseenError

if TYPE_CHECKING:
    from trlt.commands._output import Output

INTERRUPTED = 130
MOST_TOLD = 4000
"""Characters of a line of a message."""
MOST_MEANT = 2
"""Keys that are named where an option is unknown."""
RESUMES = ("resume", "continue")
"""How options begin by which other tools go on."""
GOES_ON = "the same command goes on from whatever was saved, or starts anew"


_ORDER = "prepare probe select train eval compare report reproduce infer serve export video demo doctor".split()


class _Group(TyperGroup):
    """Turns errors that a user can act on into a message and an exit code; anything else keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NoSuchOption as error:
            if error.option_name.lstrip("-").startswith(RESUMES) and error.ctx and _goes_on(error.ctx):
                error.message += "; the same command goes on by itself"
                error.possibilities = None
            elif keys := _meant(error.option_name):
                error.message += f"; a recipe's key is set by {' or '.join(f'--set {key}=…' for key in keys[:MOST_MEANT])}"
            raise
        except TrltError as error:
            _tell(error)
        except BrokenPipeError:  # whoever read the output has seen enough
            raise
        except OSError as error:
            told = disk_error(error)
            if told is None:
                raise
            _tell(told)
        except Interrupted as error:
            _be_deaf_at_exit()
            typer.echo(f"interrupted: {error.kept or GOES_ON}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            _be_deaf_at_exit()
            typer.echo(f"interrupted: {GOES_ON}", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except (ImportError, SystemError) as error:  # what a compiled module makes of Ctrl-C while it is imported
            if not _interrupted(error):
                raise
            typer.echo(f"interrupted: {GOES_ON}", err=True)
            raise typer.Exit(INTERRUPTED) from None


def _be_deaf_at_exit() -> None:
    """A further Ctrl-C while libraries clean up would end in their traceback, and the process is leaving as it is."""
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # those registered last come first


def _interrupted(error: BaseException) -> bool:
    """Whether an error comes of Ctrl-C or SIGTERM: there is one among what it was raised from, or while."""
    at: BaseException | None = error
    while at is not None and not isinstance(at, KeyboardInterrupt):
        at = at.__cause__ or at.__context__
    return at is not None


def _tell(error: TrltError) -> NoReturn:
    """Ends with an error's message and exit code; a line that quotes megabytes of someone's file is cut."""
    for place, line in enumerate(str(error).split("\n")):
        text = line if len(line) <= MOST_TOLD else f"{line[: MOST_TOLD // 2]} … {line[-MOST_TOLD // 2 :]}"
        typer.echo(text if place else f"error: {text}", err=True)
    if isinstance(error, UnforeseenError):
        typer.echo(error.trace, err=True, nl=False)
    raise typer.Exit(error.exit_code) from None


def _goes_on(context: Any) -> bool:
    """Whether a command goes on from what is there: it has a flag that says not to."""
    return any(one.name == "fresh" for one in context.command.params)


def _meant(option: str) -> list[str]:
    from trlt.recipe import meant

    return meant(option.lstrip("-"))


class _Root(_Group):
    """Lists commands in the order in which one uses them; Typer puts groups last."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


app = typer.Typer(
    name="trlt",
    cls=_Root,
    help="Reinforcement learning tuning for video language models: prepare, probe, select, train, eval, infer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trlt {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    drop_advice()


Recipe = Annotated[Path | None, typer.Option("--recipe", "-r", help="Recipe file; without one, the defaults (the paper's).")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe; repeatable.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="Folder (of a model, an adapter or a run), hub id, or `miniature` (ships with trlt); default: the recipe's, else "
        "Qwen2.5-VL-7B."
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget rows that are there, instead of going on from them.")]
Retry = Annotated[bool, typer.Option("--retry-errors", help="Ask again where a video couldn't be read.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, to stdout.")]
Servers = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        help="OpenAI-compatible server of the model (vLLM, SGLang), http://host:port; repeatable. Key: TRLT_API_KEY.",
    ),
]
Think = Annotated[bool | None, typer.Option("--think/--no-think", help="Ask for reasoning before the answer.")]


def _output(json_mode: bool) -> Output:
    from trlt.commands._output import Output

    return Output(json_mode, quiet=False)


@app.command()
def prepare(
    dataset: Annotated[str | None, typer.Argument(help="Data set, or a recipe whose `prepare.sources` make a pool.")] = None,
    annotations: Annotated[Path | None, typer.Option(help="Folder of the official annotation files, or the file.")] = None,
    videos: Annotated[Path | None, typer.Option(help="Folder of the videos; without it, they aren't looked for.")] = None,
    split: Annotated[str | None, typer.Option(help="Another split than the training split.")] = None,
    allow_test: Annotated[bool, typer.Option("--allow-test", help="Read a test split as training data.")] = False,
    check_videos: Annotated[
        bool, typer.Option("--check-videos/--no-check-videos", help="Drop samples whose video is missing or broken.")
    ] = True,
    several_spans: Annotated[
        str | None, typer.Option(help="Samples of several gold spans: keep (default), longest, hull or drop.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Benchmarks whose videos are left out: `benchmarks`, BENCH=DIR, or a folder of them; repeatable."),
    ] = None,
    leaks: Annotated[str | None, typer.Option(help="Samples on benchmarks' videos: remove (default) or list.")] = None,
    scan: Annotated[Path | None, typer.Option(help="Cache of verdicts on videos; default: runs/video-scan.jsonl.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with an error when any record was dropped.")] = False,
    sets: Sets = None,
    out: Annotated[
        Path | None, typer.Option(help="File of samples, or for a recipe a folder; default: samples.jsonl, or one in runs/.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the data sets, their files and where to get them.")] = False,
    json: Json = False,
) -> None:
    """Turn official annotation files into samples."""
    from trlt.commands.prepare import list_sources, prepare
    from trlt.errors import UsageError

    output = _output(json)
    if list_:
        output.result(list_sources(output))
        return
    if dataset is None:
        raise UsageError("which data set? give its name, or a recipe; `trlt prepare --list` shows them")
    result = prepare(
        dataset,
        out=out,
        annotations=annotations,
        videos=videos,
        split=split,
        allow_test=allow_test,
        check_videos=check_videos,
        several_spans=several_spans,
        against=against or (),
        leaks=leaks,
        scan=scan,
        strict=strict,
        sets=sets or (),
        output=output,
    )
    output.result(result)


probe_app = typer.Typer(cls=_Group, invoke_without_command=True, subcommand_metavar="[show|compare ...]")
app.add_typer(probe_app, name="probe")


@probe_app.callback()
def probe(
    context: typer.Context,
    data: Annotated[Path | None, typer.Option(help="Samples, from `trlt prepare`.")] = None,
    n: Annotated[int | None, typer.Option("-n", help="Answers a sample; default: the recipe's, else 8.", min=2)] = None,
    recipe: Recipe = None,
    model: Model = None,
    videos: Annotated[
        Path | None, typer.Option(help="Folder that the videos' paths are relative to; default: where prepare found them.")
    ] = None,
    sets: Sets = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run, or a .jsonl file of rows; default: a folder in runs/.")
    ] = None,
    fresh: Fresh = False,
    retry_errors: Retry = False,
    processes: Annotated[int, typer.Option(help="Processes that share the work; 0: one a local GPU, else one.", min=0)] = 0,
    server: Servers = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Ask on a Ray cluster: its address, `auto` for this machine's, `local` to start one."
        ),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Ask a small part only, and say what all would take: tokens, time and disk.")
    ] = False,
    estimate_clips: Annotated[
        int | None,
        typer.Option(help="Clips that --estimate measures; default: what the interval of the time needs, 32 or more.", min=3),
    ] = None,
    json: Json = False,
) -> None:
    """Ask the base model several times about each sample, to see how difficult it is; or look at what it answered."""
    from trlt.errors import UsageError

    if context.invoked_subcommand is not None:
        given = [param.opts[0] for param in context.command.params if _typed(context, param.name)]
        if given:
            word = context.invoked_subcommand
            raise UsageError(f"{', '.join(given)}: stands before `{word}`; options of `trlt probe {word}` come after it")
        return
    if data is None:
        raise UsageError("--data: which samples? give the file or folder that `trlt prepare` wrote")
    if estimate_clips is not None and not estimate:
        raise UsageError("--estimate-clips: says how much --estimate measures; give both")
    output = _output(json)
    if estimate:
        from trlt.commands.probe_estimate import estimate as estimate_probe

        result = estimate_probe(
            data,
            n=n,
            recipe_path=recipe,
            model=model,
            videos=videos,
            sets=sets or (),
            out=out,
            fresh=fresh,
            retry_errors=retry_errors,
            processes=processes,
            servers=server or (),
            ray=ray,
            clips=estimate_clips,
            output=output,
        )
        output.result(result)
        return
    from trlt.commands.probe import probe

    result = probe(
        data,
        n=n,
        recipe_path=recipe,
        model=model,
        videos=videos,
        sets=sets or (),
        out=out,
        fresh=fresh,
        retry_errors=retry_errors,
        processes=processes,
        servers=server or (),
        ray=ray,
        output=output,
    )
    output.result(result)


def _typed(context: typer.Context, name: str | None) -> bool:
    source = context.get_parameter_source(name) if name else None
    return source is not None and source.name == "COMMANDLINE"


Probed = Annotated[Path | None, typer.Option(help="Samples that were probed; default: the file that the probe noted.")]


@probe_app.command("show")
def probe_show(
    id: Annotated[str, typer.Argument(help="Id of the sample.")],
    probe: Annotated[Path, typer.Option(help="Rows of `trlt probe`, or its folder.")],
    data: Probed = None,
    json: Json = False,
) -> None:
    """Show a sample, everything that was answered, and what selection makes of it."""
    from trlt.commands.probe_show import show

    output = _output(json)
    output.result(show(id, probe=probe, data=data, output=output))


@probe_app.command("compare")
def probe_compare(
    a: Annotated[Path, typer.Argument(help="Rows of `trlt probe`, or its folder; the base model's, say.")],
    b: Annotated[Path, typer.Argument(help="The same of another model, say the tuned one's.")],
    data: Probed = None,
    png: Annotated[Path | None, typer.Option(help="File for the histograms as a picture.")] = None,
    json: Json = False,
) -> None:
    """Compare two probes of the same samples: rewards, classes and histograms, before and after tuning."""
    from trlt.commands.probe_compare import compare

    output = _output(json)
    output.result(compare(a, b, data=data, png=png, output=output))


@app.command()
def select(
    probe: Annotated[Path, typer.Option(help="Rows of `trlt probe`, or its folder.")],
    data: Annotated[Path | None, typer.Option(help="Samples that were probed; default: the file that the probe noted.")] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="rules (default: difficulty and IoU spread), variance (std of rewards) or random (whatever the difficulty)."
        ),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="Samples in all, shared among tasks in proportion to `select.sizes`.", min=1)
    ] = None,
    recipe: Recipe = None,
    sets: Sets = None,
    out: Annotated[Path, typer.Option(help="File of samples to write; its report goes beside it.")] = Path("train.jsonl"),
    json: Json = False,
) -> None:
    """Keep the samples that are worth training on."""
    from trlt.commands.select import select

    output = _output(json)
    output.result(select(probe, data=data, recipe_path=recipe, by=by, budget=budget, sets=sets or (), out=out, output=output))


train_app = typer.Typer(cls=DefaultGroup, invoke_without_command=True)
app.add_typer(train_app, name="train")


@train_app.callback()
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe file, e.g. recipes/32k.yaml.")],
    sets: Sets = None,
    data: Annotated[Path | None, typer.Option(help="Samples to train on; default: the recipe's `train.data`.")] = None,
    model: Model = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default: one in runs/.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew, instead of from the last checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and with which launcher.")] = False,
    json: Json = False,
) -> None:
    """Tune a model with GRPO, or with the supervised baseline."""
    from trlt.commands.train import train

    output = _output(json)
    output.result(train(recipe, sets=sets or (), data=data, model=model, out=out, fresh=fresh, dry_run=dry_run, output=output))


@train_app.command("merge")
def train_merge(
    adapter: Annotated[Path, typer.Argument(help="Folder of a LoRA adapter: `<run>/adapter` of a run with `train.lora`.")],
    out: Annotated[Path, typer.Option(help="Folder of the merged model.")],
    base: Annotated[
        str | None, typer.Option(help="Folder, hub id, or `miniature`; default: the base that the adapter names.")
    ] = None,
    json: Json = False,
) -> None:
    """Add a LoRA adapter to its base's weights: one model, which loads without PEFT."""
    from trlt.commands.merge import merge

    output = _output(json)
    output.result(merge(adapter, base=base, out=out, output=output))


@train_app.command("push")
def train_push(
    run: Annotated[Path, typer.Argument(help="Folder of a run of `trlt train`, or of a merged model.")],
    repo_id: Annotated[str, typer.Argument(help="Repository on the hub: owner/name.")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; without, the repository is private.")] = False,
    json: Json = False,
) -> None:
    """Upload the model of a run with its card, and nothing else of it, to a hub."""
    from trlt.commands.push import push

    output = _output(json)
    output.result(push(run, repo_id, public=public, output=output))


@app.command("eval")
def evaluate(
    bench: Annotated[list[str], typer.Option("--bench", "-b", help="Benchmark; repeatable. `all`: those of the recipe.")],
    model: Model = None,
    recipe: Recipe = None,
    annotations: Annotated[Path | None, typer.Option(help="Folder of the official files; default: data/<bench>.")] = None,
    videos: Annotated[Path | None, typer.Option(help="Folder of the videos; default: data/<bench>/videos.")] = None,
    split: Annotated[str | None, typer.Option(help="Another split than the test split.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help='Score these instead of a model: {"id", "text"} a line; needs no videos.')
    ] = None,
    server: Servers = None,
    samples: Annotated[bool, typer.Option("--samples", help="Only write the questions' ids and prompts.")] = False,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Leave out questions whose video is missing.")] = False,
    think: Think = None,
    as_gqa: Annotated[
        bool | None, typer.Option("--as-gqa/--no-as-gqa", help="Ask multi-choice with the grounded QA template.")
    ] = None,
    max_tokens_video: Annotated[
        int | None, typer.Option(help="Another video budget than the recipe's, e.g. 4096.", min=1)
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Show the paper's figures beside.")] = False,
    lmms_eval: Annotated[bool, typer.Option("--lmms-eval", help="Also write the results in lmms-eval's layout.")] = False,
    sets: Sets = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default: one in runs/.")] = None,
    fresh: Fresh = False,
    retry_errors: Retry = False,
    json: Json = False,
) -> None:
    """Score a model, or any model's predictions, on benchmarks."""
    from trlt.commands.eval import evaluate

    output = _output(json)
    result = evaluate(
        bench,
        recipe_path=recipe,
        sets=sets or (),
        model=model,
        annotations=annotations,
        videos=videos,
        split=split,
        predictions=predictions,
        servers=server or (),
        list_samples=samples,
        allow_missing=allow_missing,
        think=think,
        as_gqa=as_gqa,
        max_tokens_video=max_tokens_video,
        paper=paper,
        lmms_eval=lmms_eval,
        out=out,
        fresh=fresh,
        retry_errors=retry_errors,
        output=output,
    )
    output.result(result)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a run of `trlt eval`.")],
    b: Annotated[Path, typer.Argument(help="Folder of another one.")],
    bench: Annotated[list[str] | None, typer.Option("--bench", "-b", help="Benchmark; default: all of both.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
    json: Json = False,
) -> None:
    """Compare two runs of `trlt eval`, question by question."""
    from trlt.commands.compare import compare

    output = _output(json)
    output.result(compare(a, b, benches=bench or (), out=out, output=output))


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Folders of runs (probe, train, eval), samples of `trlt select`, or a folder of such."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="HTML file; default: report.html in the first folder.")] = None,
    frames_mb: Annotated[float, typer.Option(help="Megabytes of frames in the page; 0: none.", min=0)] = 20.0,
    videos: Annotated[Path | None, typer.Option(help="Folder of the videos; default: where the runs found them.")] = None,
    json: Json = False,
) -> None:
    """Show runs as one HTML page that opens from disk: figures, curves, histograms, and every sample with its answers."""
    from trlt.commands.report import report

    output = _output(json)
    output.result(report(runs, out=out, frames_mb=frames_mb, videos=videos, output=output))


@app.command()
def infer(
    video: Annotated[
        str,
        typer.Argument(
            help="Video file, folder of numbered frames, address (`video.downloads`), or a .jsonl file from `trlt prepare`."
        ),
    ],
    question: Annotated[
        str | None, typer.Argument(help="The question; for grounding, the event. Samples have their own.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="multi_choice, grounding or grounded_qa; default: multi_choice with options, else grounding."),
    ] = None,
    option: Annotated[list[str] | None, typer.Option("--option", "-o", help="An answer to choose from; repeatable.")] = None,
    model: Model = None,
    recipe: Recipe = None,
    sets: Sets = None,
    think: Think = None,
    html: Annotated[Path | None, typer.Option(help="HTML page of the answer, or of all samples; it opens from disk.")] = None,
    clip: Annotated[
        Path | None,
        typer.Option("--clip", metavar="OUT.mp4", help="Cut the predicted span out of the video, exact to the frame."),
    ] = None,
    span: Annotated[
        int | None, typer.Option("--span", metavar="N", help="Of several spans that the answer states, the one to cut.", min=1)
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="Folder that the samples' paths are relative to; default: where prepare found them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="For samples: folder of the run, or a .jsonl file of rows; default: a folder in runs/.")
    ] = None,
    fresh: Fresh = False,
    retry_errors: Retry = False,
    json: Json = False,
) -> None:
    """Ask a question about a video, or those of a file of samples: reasoning, answer, and when it happens."""
    from trlt.commands.infer import infer

    output = _output(json)
    result = infer(
        video,
        question,
        task=task,
        options=option or (),
        recipe_path=recipe,
        sets=sets or (),
        model=model,
        think=think,
        html=html,
        clip_out=clip,
        which=span,
        videos=videos,
        out=out,
        fresh=fresh,
        retry_errors=retry_errors,
        output=output,
    )
    output.result(result)


@app.command()
def serve(
    model: Model = None,
    recipe: Recipe = None,
    sets: Sets = None,
    think: Think = None,
    host: Annotated[
        str, typer.Option(help="What is listened on; another than this machine alone has no password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: a free one.", min=0, max=65535)] = 8765,
    max_mb: Annotated[float, typer.Option(help="Largest video, in megabytes.")] = 200.0,
    keep_minutes: Annotated[float, typer.Option(help="Minutes after which a video that nobody asks about is deleted.")] = 60.0,
) -> None:
    """Ask a model about videos on a page of this machine, or through an OpenAI-compatible endpoint."""
    from trlt.commands.serve import serve

    serve(
        recipe_path=recipe,
        sets=sets or (),
        model=model,
        think=think,
        host=host,
        port=port,
        max_mb=max_mb,
        keep_minutes=keep_minutes,
        output=_output(False),
    )


@app.command()
def export(
    samples: Annotated[Path, typer.Argument(help="File of samples, or a folder from `trlt prepare`.")],
    format: Annotated[str, typer.Option(help="video-r1, temporal-r1, ms-swift or trl.")],
    out: Annotated[Path, typer.Option(help="File to write: .json for video-r1 and temporal-r1, .jsonl for the others.")],
    videos: Annotated[Path | None, typer.Option(help="Folder to put before the videos' paths.")] = None,
    think: Think = None,
    answer_format: Annotated[str | None, typer.Option(help="letter (default), text or open.")] = None,
    json: Json = False,
) -> None:
    """Write samples in the format of another tool; what it can't carry is left out and counted."""
    from trlt.commands.export import export

    output = _output(json)
    output.result(
        export(samples, format=format, out=out, videos=videos, think=think, answer_format=answer_format, output=output)
    )


video_app = typer.Typer(cls=_Group, help="Check videos before a run, and look after the frame store.", no_args_is_help=True)
cache_app = typer.Typer(cls=_Group, help="The frame store: clips that were decoded once.", no_args_is_help=True)
video_app.add_typer(cache_app, name="cache")
app.add_typer(video_app, name="video")

Store = Annotated[Path | None, typer.Option(help="Folder of the frame store; default: the recipe's `video.store`.")]


@video_app.command("check")
def video_check(
    target: Annotated[Path, typer.Argument(help="A video, a folder of videos or of frames, or samples from `trlt prepare`.")],
    recipe: Recipe = None,
    videos: Annotated[Path | None, typer.Option(help="Folder that the samples' paths are relative to.")] = None,
    sets: Sets = None,
    out: Annotated[Path | None, typer.Option(help="JSONL file of rows; a report goes beside it. Default: in runs/.")] = None,
    fresh: Fresh = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Decode every frame of each clip, not only those that a run takes; takes about twice as long."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Decode every video as a run would, and report what is broken, damaged, or other than annotated (length, gold spans)."""
    from trlt.commands.video import check

    output = _output(json)
    result = check(target, recipe_path=recipe, sets=sets or (), videos=videos, out=out, fresh=fresh, deep=deep, output=output)
    output.result(result)


@cache_app.command("info")
def video_cache_info(recipe: Recipe = None, store: Store = None, sets: Sets = None, json: Json = False) -> None:
    """Show how many clips the frame store holds, and how large it is."""
    from trlt.commands.video import cache_info

    output = _output(json)
    output.result(cache_info(recipe, sets or (), store, output))


@cache_app.command("clear")
def video_cache_clear(recipe: Recipe = None, store: Store = None, sets: Sets = None, json: Json = False) -> None:
    """Remove every clip from the frame store."""
    from trlt.commands.video import cache_clear

    output = _output(json)
    output.result(cache_clear(recipe, sets or (), store, output))


@cache_app.command("warm")
def video_cache_warm(
    data: Annotated[Path, typer.Option(help="Samples, from `trlt prepare` or `trlt select`.")],
    recipe: Recipe = None,
    store: Store = None,
    videos: Annotated[Path | None, typer.Option(help="Folder that the samples' paths are relative to.")] = None,
    sets: Sets = None,
    json: Json = False,
) -> None:
    """Decode the clips of samples into the frame store ahead of a run, with all cores."""
    from trlt.commands.video import cache_warm

    output = _output(json)
    output.result(cache_warm(data, recipe_path=recipe, sets=sets or (), store=store, videos=videos, output=output))


@app.command()
def reproduce(
    table: Annotated[
        list[str] | None, typer.Option("--table", help="Table of the plan to make, or `all` (default); repeatable.")
    ] = None,
    plan: Annotated[Path | None, typer.Option(help="Plan of the experiment; default: the paper's claims, which ships.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Only the first so many of the plan's seeds.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for everything; default: one in runs/.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Commands at a time; default: one a core.")] = None,
    records: Annotated[
        list[Path] | None,
        typer.Option(help="A runs.jsonl of another machine or an earlier time, whose runs count as made; repeatable."),
    ] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Make no runs: verdicts from what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List runs and commands, and leave.")] = False,
    json: Json = False,
) -> None:
    """Make a pre-registered experiment by trlt's own commands: tables, plots, and a verdict on each claim."""
    from trlt.commands.reproduce import reproduce

    output = _output(json)
    output.result(
        reproduce(
            plan_path=plan,
            tables=table or (),
            seeds=seeds,
            out=out,
            jobs=jobs,
            records=records or (),
            report_only=report_only,
            dry_run=dry_run,
            output=output,
        )
    )


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("runs/demo"),
    rebuild_model: Annotated[
        bool, typer.Option("--rebuild-model", help="Make the miniature model again from nothing first.")
    ] = False,
    json: Json = False,
) -> None:
    """Run all commands on the miniature: synthetic videos, a tiny model, a few minutes."""
    from trlt.commands.demo import demo

    output = _output(json)
    output.result(demo(out, rebuild_model=rebuild_model, output=output))


@app.command()
def doctor(
    recipe: Recipe = None,
    sets: Sets = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the tiny run from end to end.")] = False,
    json: Json = False,
) -> None:
    """Look at versions, GPUs, decoders, disk and memory, and make a tiny run: what is at fault, with its remedy."""
    from trlt.commands.doctor import doctor

    output = _output(json)
    output.result(doctor(recipe_path=recipe, sets=sets or (), quick=quick, output=output))


def main() -> None:
    """The `trlt` program."""
    app()
