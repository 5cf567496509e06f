"""The tiny models that ship with trlt, made again from nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from trlt.recipe import Model, load_recipe
from trlt.task.sample import read_samples

Run = Callable[..., None]
"""Runs a command: its name, then its arguments."""
ShowsProgress = Callable[[str, str], AbstractContextManager[Callable[[int, int], None]]]
"""Begins to show what is done, and how many of what."""
WARMUP_SAMPLES, GRADED_SAMPLES = 32_000, 13_000
"""Questions of the warm-ups, three a clip; a sample counts twice, with its reasoning and without."""
GRADED = ((64, 200, 1e-3, False), (32, 700, 1e-3, False), (32, 260, 5e-4, True))
"""Of the warm-ups on graded clips: video tokens, steps, learning rate, and whether spans are loose and answers mirrored."""
PLAIN_SHARPNESS, SHARPNESS = 2.6, 1.5
"""Factors on the logits after the plain and after the last warm-up (`tiny.sharpen`)."""


def rebuild(folder: Path, recipe: Path, run: Run, progress: ShowsProgress) -> Path:
    """Both tiny models from nothing, in the steps in which the shipped weights were made.

    Tokenizer, random weights, a supervised warm-up on plain clips, one on graded clips with more video tokens, one with as many
    as ever, and one whose annotation is loose and partly the wrong way round.

    Args:
        folder: For all that is made.
        recipe: Of the warm-ups.
        run: Runs a command.
        progress: Shows how far the rendering is.

    Returns:
        The model that knows plain clips.
    """
    from trlt.engine.model import save
    from trlt.engine.mrope import LIBRARY, RULE
    from trlt.lab.miniature.tiny import build, corpus

    samples = _warmup_samples(Path(load_recipe(recipe).train.data or "").parent, WARMUP_SAMPLES, progress)
    start = folder / "random-model"
    model, processor = build(corpus(read_samples(samples)))
    setattr(model.config, RULE, LIBRARY)  # the plain clips were learnt under this rule, what follows under the published one
    save(model, processor, start)
    run("train", recipe, "--model", start, "--out", folder / "warmup")
    plain = _sharpened(folder / "warmup" / "model", PLAIN_SHARPNESS, folder / "plain-model")
    last = _sharpened(plain, 1.0, folder / "published-model", published=True)
    for seed, (tokens, steps, rate, slipping) in enumerate(GRADED):
        data = folder / ("slipping-data" if slipping else "graded-data")
        graded = _warmup_samples(data, GRADED_SAMPLES, progress, graded=True, slipping=slipping)
        changed = {
            "video.root": graded.parent / "videos",
            "video.max_tokens": tokens,
            "train.max_steps": steps,
            "train.learning_rate": rate,
            "train.warmup_steps": min(20, steps),
            "train.seed": seed,
        }
        sets = [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]
        out = folder / f"graded-{seed}"
        run("train", recipe, "--data", graded, *sets, "--model", last, "--out", out)
        last = out / "model"
    _sharpened(last, SHARPNESS, folder / "graded-model", published=True)
    return plain


def _warmup_samples(root: Path, count: int, progress: ShowsProgress, *, graded: bool = False, slipping: bool = False) -> Path:
    """The samples of a warm-up, written where they aren't there."""
    from trlt.lab.miniature import warmup

    if not (root / "samples.jsonl").is_file():
        with progress("render", "videos") as shown:
            warmup.write(
                root,
                count,
                int(graded),
                graded=graded,
                slack_s=1.5 if slipping else 0.0,
                mirrored=0.6 if slipping else 0.0,
                progress=shown,
            )
    return root / "samples.jsonl"


def _sharpened(model: Path, factor: float, out: Path, *, published: bool = False) -> Path:
    """The model with its logits multiplied, and where `published`, text placed by the published rule from now on."""
    from trlt.engine.model import load, save
    from trlt.engine.mrope import RULE
    from trlt.lab.miniature.tiny import sharpen

    loaded = load(Model(path=str(model), dtype="float32", device="cpu"))
    sharpen(loaded.model, factor)
    if published:
        loaded.model.config.__dict__.pop(RULE, None)
    save(loaded.model, loaded.processor, out)
    return out
