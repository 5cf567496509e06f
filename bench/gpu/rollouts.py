"""Rollouts by the engine and by the library's `generate`: the same questions, precision, number of rows and length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bench.gpu.bench import Bench, Out
from bench.gpu.inputs import COMPLETIONS, Asked, for_library, library_logps
from bench.gpu.models import as_published
from bench.gpu.parity import gap
from trlt.engine.forest import Completion
from trlt.engine.sampling import Sampling


def rollouts(bench: Bench, name: str, rows: int, rounds: int, out: Out) -> None:
    """Tokens a second, prefill included, of both sides in turn; and whether they agree on what the engine drew."""
    asked = bench.asked(name, rows // COMPLETIONS)
    bench.enter(name, "bfloat16" if bench.half else "float32")
    model, engine, told = bench.model(name), bench.engine(name), list[str]()
    engine.on_event = told.append
    banned = engine.banned.nonzero()[:, 0].tolist()
    written: list[list[Completion]] = []

    def by_engine(new: int, some: Sequence[Asked]) -> None:
        trees = [one.tree() for one in some]
        written[:] = [one for [one] in engine.generate(trees, Sampling(max_new_tokens=new), max_sequences=rows)]
        lengths = {len(completion.tokens) for completions in written for completion in completions}
        assert lengths == {new}, f"the engine's completions have {lengths} tokens"

    sides = {"engine": by_engine, "library": lambda new, some: by_library(model, some, banned, new)}
    out |= {"rows": rows, "new_tokens": bench.size.new, "prompt_tokens": len(asked[0].prompt.positions[0])}
    for side, draw in sides.items():
        draw(2, asked[:1])  # warms up
        out[side] = {"prefill": bench.measure(lambda: draw(1, asked), most=1, seconds=0), "rounds": []}  # noqa: B023
    for _ in range(rounds):
        for side, draw in sides.items():
            found = bench.measure(lambda: draw(bench.size.new, asked), most=1, seconds=0)  # noqa: B023
            if "seconds" in found:
                found["tokens_per_s"] = rows * bench.size.new / found["seconds"]
            out[side]["rounds"].append(found)
    out["notices"] = told
    with as_published(model):
        theirs = library_logps(model, asked[0], [completion.tokens for completion in written[0]])
    out["difference"] = gap(torch.tensor([completion.logps for completion in written[0]]), theirs)


def by_library(model: Any, asked: Sequence[Asked], banned: list[int], new: int) -> None:
    """All questions at once, with the same tokens banned; top_k=0, for its default of 50 draws from another distribution."""
    inputs = for_library(asked, model.config.video_token_id, model.device)
    with as_published(model):
        drawn = model.generate(
            **inputs,
            max_new_tokens=new,
            num_return_sequences=COMPLETIONS,
            do_sample=True,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            suppress_tokens=banned,
        )
    shape = (len(asked) * COMPLETIONS, inputs["input_ids"].shape[1] + new)
    assert drawn.shape == shape, f"the library's completions have shape {tuple(drawn.shape)}"
