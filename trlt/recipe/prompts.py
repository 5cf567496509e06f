"""The recipe's section of own prompts: their words, and the layout of completions. Knows neither files nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from trlt.recipe._base import Means, Outcome, Section
from trlt.task.layout import PAPER, read_parts
from trlt.task.prompt import FIELDS, SYSTEM, Words, unsaid
from trlt.task.sample import TASKS
from trlt.task.template import template_fault

ByTask = dict[Literal["all", "multi_choice", "grounding", "grounded_qa"], str]


def _for_all(value: Any) -> Any:
    return {"all": value} if isinstance(value, str) else value


PerTask = Annotated[ByTask, BeforeValidator(_for_all, json_schema_input_type=str | ByTask)]


class Prompts(Section):
    """How questions are put into words, and how completions are laid out; see [own prompts](own-prompts.md)."""

    name: Means[str | None] = Field(default=None, max_length=200)
    """Names of the files that the texts were read from, for messages."""
    template: Outcome[PerTask] = Field(default_factory=dict)
    """Own Jinja template of the user's text: a file (`.jinja`, `.j2`, `.txt`), the text itself, or a table of either by task,
    where `all` is for the others. Recipes that a run saves hold the text."""
    trim: Outcome[bool] = True
    """Take off white space around the text that a template makes; false keeps it, as prompts of other harnesses need."""
    system: Outcome[str | None] = None
    """Own system text, or its file; null: `You answer questions about a video.`; empty: no system turn, whose place some chat
    templates fill by themselves."""
    format: Outcome[PerTask] = Field(default_factory=dict)
    """What completions look like, with `{reasoning}`, `{span}` and `{answer}` where they stand, for all tasks or by task;
    default: the paper's tags. Templates show it by `{{ format }}`."""

    @field_validator("template")
    @classmethod
    def _templates(cls, texts: dict[str, str], found: ValidationInfo) -> dict[str, str]:
        for task, text in texts.items():
            if fault := _unfit(text) or template_fault(text, FIELDS):
                name = found.data.get("name")
                raise ValueError(f"{_which(task, texts)}{f'{name}: ' if name else ''}{fault}")
        return texts

    @field_validator("format")
    @classmethod
    def _formats(cls, texts: dict[str, str]) -> dict[str, str]:
        for task, text in texts.items():
            try:
                fault = _unfit(text)
                read_parts(text)
            except ValueError as error:
                fault = str(error)
            if fault:
                raise ValueError(f"{_which(task, texts)}{text!r}: {fault}")
        return texts

    @field_validator("system")
    @classmethod
    def _system(cls, text: str | None) -> str | None:
        if text and (fault := _unfit(text)):
            raise ValueError(fault)
        if text and ("{{" in text or "{%" in text):
            raise ValueError("is text as it stands, and shows no fields; put them into prompt.template")
        return text

    def words(self) -> Words:
        """The same, as `trlt.task.prompt` takes them."""
        templates, formats = self.template, self.format
        return Words(
            SYSTEM if self.system is None else self.system.strip(),
            tuple((task, templates.get(task, templates.get("all", ""))) for task in TASKS if {task, "all"} & templates.keys()),
            tuple(
                (task, text) for task in TASKS if (text := formats.get(task, formats.get("all", PAPER[task]))) != PAPER[task]
            ),
            self.trim,
        )


def _which(task: str, texts: Mapping[str, str]) -> str:
    """Begins a message with the task whose text is meant, where there are several."""
    return "" if list(texts) == ["all"] else f"{task}: "


def _unfit(text: str) -> str | None:
    """Why a text can't be a part of any prompt."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := unsaid(line):
            return f"line {number}: holds {found}; take it out: the model's own chat template writes the marks of turns"
        for tag in ("<video>", "<image>"):
            if tag in line:
                return f"line {number}: holds {tag}; take it out: the video stands before the user's text by itself"
    return None
