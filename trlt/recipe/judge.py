"""The section `reward.judge` of a recipe: a model behind an address that judges answers in words."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, JsonValue, field_validator

from trlt.errors import RecipeError, ServerError, UsageError
from trlt.files.chat_server import ChatServer, Patience
from trlt.files.replies import Reply
from trlt.files.server_call import Refused, ServerAddress
from trlt.recipe._base import Means, Outcome, Positive, Section
from trlt.task.answer import Answer
from trlt.task.judge import FIELDS, Asked, Judge, JudgeError, Scale, template_of
from trlt.task.parts import JUDGE, RewardPart
from trlt.task.sample import Sample
from trlt.task.score import Scores
from trlt.task.template import template_fault

NAMED = "reward.judge"
TRIES = 3
"""Failures in a row after which a judge that is tried before a run is given up: users wait for this."""
TRIAL = Sample("trial", "", "", "multi_choice", "trial.mp4", "What is the person holding?", answer="a cup")
TRIED = Answer("a mug", None, None, None, True)
"""What a judge is tried on before a run."""


class JudgeServer(Section):
    """A model behind an OpenAI-compatible address judges answers in words: [A judge](judge.md)."""

    model: Outcome[str]
    """Its name at the server."""
    url: Means[str | None] = None
    """Where it listens, such as `http://localhost:8000`; needed where completions are graded."""
    weight: Outcome[float | None] = None
    """Weight of the verdict, besides the accuracy; null lets the verdict stand in for the accuracy, with its weight."""
    scale: Outcome[Scale] = "yes_no"
    """What is asked for: `yes_no`, or a number that is divided by 10 (`0_to_10`)."""
    questions: Outcome[Asked] = "without_options"
    """Questions that are judged: those answered in words, or all that have a right answer, also by option or number."""
    prompt: Outcome[str | None] = None
    """Own Jinja template of the request, or its file, with `question`, `gold`, `answer`, `options` and `task`; null: trlt's own
    words."""
    max_new_tokens: Outcome[Positive] = 64
    """Tokens of a verdict; more for a judge that reasons first."""
    request: Outcome[dict[str, JsonValue]] = {}
    """Further fields of a request, such as `{chat_template_kwargs: {enable_thinking: false}}`; `null` takes `temperature` or
    `max_tokens` away."""
    key_env: Means[str | None] = None
    """Name of the environment variable with the server's key; the key itself is never saved."""
    concurrency: Means[Positive] = 32
    """Requests under way at once."""
    timeout_s: Means[Annotated[float, Field(gt=0)]] = 60.0
    """Seconds for one request."""
    attempts: Means[Positive] = 8
    """Failures in a row, with growing waits, after which the run ends."""

    @field_validator("prompt")
    @classmethod
    def _template(cls, text: str | None) -> str | None:
        if text is not None and (fault := template_fault(text, FIELDS)):
            raise ValueError(fault)
        if text is not None and "answer" not in text:
            raise ValueError("shows no {{ answer }}, which is what is judged")
        return text

    @field_validator("request")
    @classmethod
    def _further(cls, fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in ("messages", "model", "n", "stream"):
            if name in fields:
                raise ValueError(f"{name} is trlt's to set; `model` and `prompt` of this section say what is asked")
        return fields

    @field_validator("key_env")
    @classmethod
    def _name(cls, name: str | None) -> str | None:
        if name is not None and not name.replace("_", "").isalnum():
            raise ValueError("is no name of an environment variable; write the variable's name here, never the key itself")
        return name

    def identity(self) -> dict[str, Any]:
        """What the verdicts depend on, for a run's manifest."""
        return {
            "name": JUDGE,
            "weight": self.weight or 0.0,
            "file": None,
            "files": {},
            "judge": {
                "model": self.model,
                "scale": self.scale,
                "prompt": self.prompt or template_of(self.scale),
                "in_place_of_accuracy": self.weight is None,
                **({"request": self.request} if self.request else {}),
            },
        }

    def load(self, folder: Path | None = None) -> RewardPart:
        """The part of the reward.

        Args:
            folder: Where replies are kept; None keeps them for this process.

        Raises:
            RecipeError: no address, one that can't be used, or a key that isn't there.
        """
        return RewardPart(JUDGE, self.weight or 0.0, self._judge(folder), instead=self.weight is None)

    def try_it(self) -> None:
        """Asks for the verdict on an answer of which it doesn't matter.

        Raises:
            RecipeError: as `load`.
            ServerError: the server can't be reached or refuses, or the model gives no verdict.
        """
        try:
            self._judge(None, attempts=min(TRIES, self.attempts))([TRIAL], [""], [TRIED], [Scores(1.0, 0.0, None)])
        except JudgeError as error:
            raise ServerError(f"{NAMED}: {self.url}: tried on an answer, {self.model} gave {error}") from None

    def _judge(self, folder: Path | None, *, attempts: int | None = None) -> Judge:
        if self.url is None:
            raise RecipeError(f"{NAMED}.url: missing: where does the judge listen? --set {NAMED}.url=http://localhost:8000")
        try:
            address = ServerAddress.parse(self.url, named=f"{NAMED}.url", key=f"in a variable that {NAMED}.key_env names")
        except UsageError as error:
            raise RecipeError(str(error)) from None
        key = os.environ.get(self.key_env, "").strip() if self.key_env else None
        if self.key_env and not key:
            raise RecipeError(f"{NAMED}.key_env: {self.key_env} isn't set; export it with the server's key")
        if key and not key.isprintable():
            raise RecipeError(f"{NAMED}.key_env: {self.key_env} holds what no key can; is it a file's content?")
        patience = Patience(self.concurrency, self.timeout_s, attempts or self.attempts)
        server = ChatServer(
            NAMED,
            address,
            self.model,
            max_tokens=self.max_new_tokens,
            key=key,
            key_env=self.key_env,
            patience=patience,
            folder=folder,
            more=self.request,
        )
        return Judge(_asker(server), self.prompt or template_of(self.scale), self.scale, self.questions)


def _asker(server: ChatServer) -> Any:
    def ask(texts: Sequence[str]) -> Mapping[str, str | JudgeError]:
        return {
            text: _refused(reply) if isinstance(reply, Refused) else reply.text if _is_whole(reply) else _cut(reply)
            for text, reply in server.ask(texts).items()
        }

    return ask


def _is_whole(reply: Reply) -> bool:
    """Whether a reply says all that it was to say; of one that was cut off, a single word can't go on otherwise."""
    return reply.finished or reply.text.strip().casefold() in ("yes", "no")


def _refused(refused: Refused) -> JudgeError:
    return JudgeError(f"the server refused the request with {refused} ({NAMED}.request sets fields of it, and takes some away)")


def _cut(reply: Reply) -> JudgeError:
    return JudgeError(
        f"a reply that was cut off, {reply.text[-200:].strip()!r}; raise {NAMED}.max_new_tokens in a new run, or let the judge "
        f"say less ({NAMED}.prompt, {NAMED}.request)"
    )
