"""A clip and a prompt, scored by the engine, the trainer and the library; and by each of several faulty ways."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

TOKENS, COMPLETIONS = 32, 2
"""Of each completion at most, and of each prompt."""


class Shown(NamedTuple):
    """A clip and a prompt about it."""

    clip: Any
    system: str
    user: str
    temperature: float


class Case:
    """One prompt of a clip."""

    def __init__(self, model: Any, processor: Any, precision: str, shown: Shown, seed: int) -> None:
        from trlt.engine.forest import Engine
        from trlt.engine.sampling import Sampling

        self.model, self.processor = model, processor
        self.clip, system, user, self.temperature = shown
        self.words = (system, user)
        self.engine = Engine(model, processor, exact=precision == "float32")
        self.sampling = Sampling(self.temperature, 0.99, TOKENS, seed)
        self._autocast = precision == "autocast"

    def look(self, master: Any, faults: bool) -> Iterator[tuple[str, list[float]]]:
        """Each comparison's name and differences."""
        import torch

        with torch.no_grad(), self._computing():
            tokens, own, drawn = self._draw()
            library, trainer = self._library(tokens), self._trainer(tokens)
            yield "engine, library", self._apart(own, library)
            yield "engine, library, at temperature 1", (drawn.scored.logps - self._library(tokens, 1.0)).abs().tolist()
            yield "engine, trainer", self._apart(own, trainer)
            yield "trainer, library", self._apart(trainer, library)
            if faults:
                for name, logps in self._faults(tokens, master):
                    yield f"fault: {name}", self._apart(logps, library)

    def _computing(self) -> contextlib.AbstractContextManager[Any]:
        import torch

        return torch.autocast("cpu", dtype=torch.bfloat16) if self._autocast else contextlib.nullcontext()

    def _apart(self, one: Any, other: Any) -> list[float]:
        return ((one - other).abs() * self.temperature).tolist()

    def _draw(self) -> tuple[Sequence[int], Any, Any]:
        import torch

        from trlt.engine.first_completion import FirstClip
        from trlt.engine.forest import PromptRequest, Tree

        told: list[Any] = []
        self.engine.first = FirstClip(told.append)
        [[completions]] = self.engine.generate(
            [Tree(self.clip, (PromptRequest("a", *self.words, COMPLETIONS),))], self.sampling
        )
        count = len(told[0].tokens)
        return told[0].tokens, torch.tensor(completions[0].logps[:count]), told[0]

    def _library(self, tokens: Sequence[int], temperature: float | None = None) -> Any:
        from trlt.engine.library_forward import score

        at = self.temperature if temperature is None else temperature
        return score(self.model, self.processor, self.clip, *self.words, tokens, at).logps

    def _trainer(self, tokens: Sequence[int], temperature: float | None = None, **changes: Callable[[Any], Any]) -> Any:
        """Log-probabilities of the shared prefix's pass; `changes` are made to the clip's inputs or the prompt's."""
        from trlt.engine.shared_prefix import Group, collate, forward

        clip = self.engine.builder.clip(self.clip)
        clip = replace(clip, **{name: change(getattr(clip, name)) for name, change in changes.items() if hasattr(clip, name)})
        prompt = self.engine.builder.prompt(*self.words, clip)
        if "positions" in changes:
            prompt = replace(prompt, positions=changes["positions"](prompt))
        tree = collate([Group(clip, prompt, (tuple(tokens),))])
        return forward(self.model, tree, temperature=temperature or self.temperature).logps[0]

    def _faults(self, tokens: Sequence[int], master: Any) -> Iterator[tuple[str, Any]]:
        if self.clip.sample_fps != 2:
            yield "the rate is dropped", self._trainer(tokens, seconds_per_grid=lambda _: 1.0)
        yield "text placed by the library's rule", self._trainer(tokens, positions=self._by_the_library)
        yield "frames normalized with 0.5 and 0.5", self._trainer(tokens, pixels=_other_mean)
        yield "frames 1% brighter", self._trainer(tokens, pixels=lambda p: p * 1.01)
        yield "temperature 10% higher", self._trainer(tokens, self.temperature * 1.1)
        yield "temperature 30% lower", self._trainer(tokens, self.temperature * 0.7)
        for name, change in (("one update at 1e-6", 1e-6), ("one update at 1e-5", 1e-5), ("one update at 1e-3", 1e-3)):
            with _changed(self.model, _stale(master, change)):
                yield f"a layer's weights are stale by {name}", self._trainer(tokens)
        with _changed(self.model, lambda name, weight: weight * 0 if name == "mlp.down_proj.weight" else weight):
            yield "a layer's MLP is left out", self._trainer(tokens)
        with _patched("trlt.engine.attention", "_scores", lambda honest: lambda *a: honest(*a).bfloat16().float()):
            yield from self._drawn_with("attention scores rounded to BF16", tokens)
        with _patched("trlt.engine.cohort", "branch_attention", _without_clip):
            yield from self._drawn_with("completions don't see their clip", tokens)

    def _drawn_with(self, name: str, tokens: Sequence[int]) -> Iterator[tuple[str, Any]]:
        """The engine's log-probabilities of the same tokens, where what it does to draw them is faulty."""
        import torch

        from trlt.engine import forest

        honest, rest = forest.draw, iter(tokens)

        def forced(logits: Any, uniform: Any, sampling: Any, banned: Any, rounding: float = 1.0) -> Any:
            found, token = honest(logits, uniform, sampling, banned, rounding), next(rest, tokens[-1])
            logps = (logits.float() / sampling.temperature).log_softmax(-1)[:, token]
            # None is unsure: those are drawn once more.
            return found._replace(
                tokens=torch.full_like(found.tokens, token), logps=logps, unsure=torch.zeros_like(found.unsure)
            )

        with _patched("trlt.engine.forest", "draw", lambda _: forced):
            _, logps, _ = self._draw()
        yield name, logps[: len(tokens)]

    def _by_the_library(self, prompt: Any) -> Any:
        """The text behind the video goes on after the larger of its height and width."""
        _, rows, columns = self.clip.grid
        moved, end = prompt.positions.clone(), len(prompt.prefix) - 1
        start = int(moved[0, end - self.clip.tokens])
        moved[:, end:] += start + max(rows, columns) // 2 - int(moved[0, end])
        return moved


def _other_mean(pixels: Any) -> Any:
    """From the published mean and deviation of each channel to 0.5 and 0.5."""
    import torch

    from tests.real_shapes.published import PREPROCESSOR

    mean, deviation = (torch.tensor(PREPROCESSOR[key])[:, None] for key in ("image_mean", "image_std"))
    return ((pixels.view(len(pixels), 3, -1) * deviation + mean - 0.5) / 0.5).reshape(pixels.shape)


def _without_clip(honest: Any) -> Any:
    def attend(query: Any, key: Any, value: Any, levels: Any, layer: int, scale: float) -> Any:
        return honest(query, key, value, levels[1:] if len(levels) == 2 else levels, layer, scale)

    return attend


@contextlib.contextmanager
def _patched(module: str, name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    from importlib import import_module

    place = import_module(module)
    honest = getattr(place, name)
    setattr(place, name, change(honest))
    try:
        yield
    finally:
        setattr(place, name, honest)


def _stale(master: Any, rate: float) -> Callable[[str, Any], Any]:
    """Weights as they were before an AdamW step, which moves each by about the learning rate."""
    import torch

    generator = torch.Generator().manual_seed(0)
    truth = dict(master.model.language_model.layers[0].named_parameters())
    return lambda name, _: truth[name] + rate * (torch.randint(0, 2, truth[name].shape, generator=generator) * 2 - 1)


@contextlib.contextmanager
def _changed(model: Any, change: Callable[[str, Any], Any]) -> Iterator[None]:
    """The first layer with other weights for a while."""
    import torch

    layer = model.model.language_model.layers[0]
    kept = {name: weight.detach().clone() for name, weight in layer.named_parameters()}
    for name, weight in layer.named_parameters():
        weight.data.copy_(change(name, weight.detach()))
    torch.clear_autocast_cache()  # it holds the weights in BF16 as they were
    try:
        yield
    finally:
        for name, weight in layer.named_parameters():
            weight.data.copy_(kept[name])
        torch.clear_autocast_cache()
