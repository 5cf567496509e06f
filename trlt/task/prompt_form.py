"""How one stage of a recipe asks and reads: from a sample to its prompt, and from a completion to its answer (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from trlt.task.answer import Answer, AnswerFormat, parse
from trlt.task.prompt import Prompt, asked_as, asked_format, build, render_answer
from trlt.task.sample import Sample


@dataclass(frozen=True, slots=True)
class PromptForm:
    """The prompt's settings, which parsing a completion needs too; a stage's whole recipe gives one (`Recipe.form`)."""

    think: bool
    """With reasoning before the answer."""
    answer_format: AnswerFormat
    """Answer format of questions with options."""
    open_threshold: float = 0.5
    """Minimum token F1 at which an open answer names an option."""
    as_gqa: bool = False
    """Ask multi-choice questions with the grounded QA template ("Infer as GQA", Table 6)."""

    def prompt(self, sample: Sample) -> Prompt:
        """The prompt of a sample.

        Raises:
            DataError: more options than letters.
        """
        return build(sample, think=self.think, answer_format=self.answer_format, as_gqa=self.as_gqa)

    def read(self, sample: Sample, text: str) -> Answer:
        """Parses a completion, without its end mark, by the template of the sample's prompt."""
        return parse(
            text,
            task=asked_as(sample, as_gqa=self.as_gqa),
            think=self.think,
            options=sample.options,
            answer_format=asked_format(sample, self.answer_format),
            open_threshold=self.open_threshold,
        )

    def target(self, sample: Sample, reasoning: str | None = None) -> str:
        """The gold completion, which `read` reads back as right: SFT's target.

        Raises:
            DataError: reasoning or an answer that can't stand in the template.
        """
        return render_answer(sample, think=self.think, answer_format=self.answer_format, reasoning=reasoning)
