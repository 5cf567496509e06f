"""Scene -> questions with one right answer each, and what one would note down to answer them. Knows no pixels and no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from trlt.lab.miniature.choices import CHOICES
from trlt.lab.miniature.facts import ANSWER_KINDS, GROUNDED_KINDS, QUERIES, QUERY_KINDS, AskKind, Fact, label
from trlt.lab.miniature.world import Scene, Show
from trlt.task.sample import Span, Task

_FACTS: Mapping[AskKind, Callable[[Scene], list[Fact]]] = {**QUERIES, **CHOICES}


@dataclass(frozen=True, slots=True)
class SceneQuestion:
    """One question about a scene and everything that is right about it."""

    task: Task
    kind: AskKind
    text: str
    """The question, or for grounding the query."""
    options: tuple[str, ...] | None
    answer_index: int | None
    spans: tuple[Span, ...] | None
    """Gold spans of a query, or the evidence of a grounded question; None for multi_choice."""
    reasoning: str
    """What is seen, in order, with times."""

    @property
    def answer(self) -> str | None:
        """The right option."""
        return self.options[self.answer_index] if self.options and self.answer_index is not None else None


def ask(scene: Scene, rng: Random, task: Task, kind: AskKind | None = None, *, options: int = 5) -> SceneQuestion | None:
    """One question about a scene, or None when nothing of that kind can be asked without ambiguity.

    Args:
        scene: The script.
        rng: Decides what is asked, how it is said, and where the right option stands (evenly).
        task: One of the three tasks.
        kind: What is asked for; None draws one of the task's kinds.
        options: How many options there are at most; fewer where fewer make sense.
    """
    found = ask_several(scene, rng, task, 1, kinds=[kind] if kind else None, options=options)
    return found[0] if found else None


def ask_several(
    scene: Scene, rng: Random, task: Task, count: int, *, kinds: Sequence[AskKind] | None = None, options: int = 5
) -> list[SceneQuestion]:
    """Up to `count` questions of different kinds (for grounding: of different facts) in random order; see `ask`."""
    default: dict[Task, Sequence[AskKind]] = {
        "grounding": QUERY_KINDS,
        "multi_choice": ANSWER_KINDS,
        "grounded_qa": GROUNDED_KINDS,
    }
    order = list(kinds or default[task])
    rng.shuffle(order)
    found: list[SceneQuestion] = []
    for kind in order * (2 if task == "grounding" else 1):
        facts = [f for f in _FACTS[kind](scene) if all(q.text not in f.texts for q in found)]
        if facts and len(found) < count:
            found.append(_question(scene, rng, task, kind, rng.choice(facts), options))
    return found


def reasoning(scene: Scene) -> str:
    """What is seen in a scene, in order, with times: `red circle 1.0 to 3.5 moves left . ...`."""
    return " ".join(_observation(s) for s in scene.shows)


def _observation(show: Show) -> str:
    turn = f" turns {show.turns_to} at {show.turns_at:.1f}" if show.turns_to else ""
    move = f" moves {show.motion}" if show.motion != "still" else ""
    return f"{label(show)} {show.start:.1f} to {show.end:.1f}{move}{turn} ."


def _question(scene: Scene, rng: Random, task: Task, kind: AskKind, fact: Fact, options: int) -> SceneQuestion:
    chosen: tuple[str, ...] | None = None
    index: int | None = None
    if task != "grounding":
        near, far = list(fact.near), list(fact.far)
        rng.shuffle(near)
        rng.shuffle(far)
        wrong = [*near, *far][: options - 1]
        index = rng.randint(0, len(wrong))
        chosen = (*wrong[:index], fact.answer, *wrong[index:])
        assert len(set(chosen)) == len(chosen) >= 2
    return SceneQuestion(
        task, kind, rng.choice(fact.texts), chosen, index, None if task == "multi_choice" else fact.spans, reasoning(scene)
    )
