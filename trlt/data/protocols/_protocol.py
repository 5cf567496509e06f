"""One harness's protocol for one benchmark, and the recipe that asks by it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from trlt.data.datasets import Item
from trlt.recipe import Recipe
from trlt.task.answer import Answer
from trlt.task.sample import Sample

GREEDY = {"temperature": 0.01, "top_p": 0.001}
"""Nothing but the likeliest token is left to draw from."""
_BARE = {"multi_choice": "{answer}", "grounding": "{span}", "grounded_qa": "{span} {answer}"}


@dataclass(frozen=True, slots=True)
class Budget:
    """Frames and visual tokens of a video; what is None is the recipe's."""

    fps: float | None = None
    min_frames: int | None = None
    max_frames: int | None = None
    min_tokens: int | None = None
    """Per temporal patch of two frames."""
    max_tokens: int | None = None
    """Per video."""

    @classmethod
    def uniform(cls, frames: int, min_tokens: int | None = None, max_tokens: int | None = None) -> Budget:
        """As many frames, evenly from the first to the last; all of a video that has fewer."""
        return cls(None, frames, frames, min_tokens, max_tokens)


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a harness asks and reads one benchmark."""

    version: str
    """Revision of the harness that the facts were read at."""
    source: str
    """Where they stand in it."""
    max_new_tokens: int
    template: str | None
    """The user's text as a Jinja template, to the byte; None if it can't be asked."""
    reads: str
    """How it reads an answer, in words."""
    read: Callable[[Sample, str], Answer] | None = None
    """The same as a function of the sample and the whole output; None: the benchmark's official rule."""
    budget: Budget = Budget()
    system: str = ""
    """Empty: no system turn, in whose place a chat template may put its own."""
    tags: bool = False
    """The prompt asks for reasoning and answer in tags."""
    figure: str = "acc"
    """The metric here that is the harness's headline."""
    notes: tuple[str, ...] = ()
    """Known differences that remain."""
    unknown: str = ""
    """Why there is no template."""

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe by which the benchmark is asked, and its answers parsed before the harness's own reading."""
        prompt: dict[str, Any] = {"trim": False, "system": self.system}
        if self.template is not None:
            prompt["template"] = {"all": self.template}
        if not self.tags:
            prompt["format"] = {"multi_choice": "{answer}", "grounding": "{span}"}
        asked = {**GREEDY, "max_new_tokens": self.max_new_tokens, "think": self.tags, "answer_format": "letter"}
        video = {key: value for key, value in asdict(self.budget).items() if value is not None}
        return recipe.model_copy(
            update={
                "prompt": recipe.prompt.model_copy(update=prompt),
                "eval": recipe.eval.model_copy(update=asked),
                "video": recipe.video.model_copy(update=video),
            }
        )

    def items(self, items: list[Item]) -> list[Item]:
        """The same questions and outputs, with the answers that the harness reads."""
        if self.read is None:
            return items
        return [replace(item, answer=self.read(item.sample, item.text)) for item in items]

    def to_json(self) -> dict[str, Any]:
        """What `results.json` and the manifest say of it, besides decoding and budget."""
        told = {"version": self.version, "source": self.source, "template": self.template, "system": self.system}
        return told | {"reads": self.reads, "figure": self.figure, "notes": list(self.notes)}
