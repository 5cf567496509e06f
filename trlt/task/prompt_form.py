"""How one stage of a recipe asks and reads: from a sample to its prompt, and from a completion to its answer (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trlt.errors import DataError, RecipeError
from trlt.task.answer import LETTERS, Answer, AnswerFormat, parse
from trlt.task.choices import parse_choices
from trlt.task.prompt import OURS, Prompt, Words, asked_as, asked_format, build, render_answer, unaskable
from trlt.task.sample import Sample, Task


@dataclass(frozen=True, slots=True)
class PromptForm:
    """The prompt's settings, which parsing a completion needs too; a stage's whole recipe gives one (`Recipe.form`).

    It holds texts alone, and can be pickled.
    """

    think: bool
    """With reasoning before the answer."""
    answer_format: AnswerFormat
    """Answer format of questions with options."""
    open_threshold: float = 0.5
    """Minimum token F1 at which an open answer names an option."""
    as_gqa: bool = False
    """Ask multi-choice questions with the grounded QA template ("Infer as GQA", Table 6)."""
    words: Words = OURS
    """The wording, and the layouts of completions."""

    def prompt(self, sample: Sample) -> Prompt:
        """The prompt of a sample.

        Raises:
            DataError: more options than letters, or an own template fails.
        """
        return build(sample, think=self.think, answer_format=self.answer_format, as_gqa=self.as_gqa, words=self.words)

    def read(self, sample: Sample, text: str) -> Answer:
        """Parses a completion, without its end mark, by the layout that the sample's prompt asks for."""
        task = asked_as(sample, as_gqa=self.as_gqa)
        return parse(
            text,
            task=task,
            think=self.think,
            options=sample.options,
            answer_format=asked_format(sample, self.answer_format),
            open_threshold=self.open_threshold,
            laid_out=self.words.layout(task, think=self.think),
            several=sample.several,
            numeric=sample.numeric,
            choose=parse_choices if sample.answer_indices is not None else None,
        )

    def target(self, sample: Sample, reasoning: str | None = None) -> str:
        """The gold completion, which `read` reads back as right: SFT's target.

        Raises:
            DataError: reasoning or an answer that can't stand in the layout.
        """
        form = self.answer_format
        return render_answer(sample, think=self.think, answer_format=form, reasoning=reasoning, words=self.words)

    def try_out(self, samples: Sequence[Sample]) -> None:
        """Asks the first sample of each task, so that an own template fails before a model is loaded.

        Args:
            samples: What will be asked.

        Raises:
            RecipeError: the template fails, doesn't show the marks that the completion is read by, or asks a question about
                several spans as one about a single span.
        """
        if self.words == OURS:
            return
        tried: set[tuple[Task, bool, bool, bool]] = set()
        for sample in samples:
            task = asked_as(sample, as_gqa=self.as_gqa)
            kind = (task, sample.several or sample.answer_indices is not None, sample.numeric, bool(sample.subtitles))
            if kind in tried or unaskable(sample) or len(sample.options or ()) > len(LETTERS):
                continue
            tried.add(kind)
            try:
                prompt = self.prompt(sample)
                alike = sample.several and prompt == self.prompt(replace(sample, several=False))
            except DataError as error:
                raise RecipeError(str(error)) from None
            shown = "".join(f"{prompt.system} {prompt.user}".split())
            if "".join(sample.subtitles.split()) not in shown:
                raise RecipeError(
                    f"prompt.template: asks sample {sample.id!r} without its subtitles; write {{{{ subtitles }}}} where the "
                    "template shows them, or ask without (eval.subtitles: false)"
                )
            hidden = [mark for mark in self.words.layout(task, think=self.think).marks if "".join(mark.split()) not in shown]
            if hidden:
                raise RecipeError(
                    f"prompt.template: asks sample {sample.id!r} ({task}) without showing {', '.join(hidden)}, by which its "
                    "answer is read; write {{ format }} where the template says how to answer, or set prompt.format to what it "
                    "asks for"
                )
            if alike:
                raise RecipeError(
                    f"prompt.template: asks sample {sample.id!r} for all of its spans in the words that ask for one; write "
                    "{{ format }} where the template says how to answer, or {% if several %} for words of their own"
                )
