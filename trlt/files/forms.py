"""The types of values in a run's files, as far as other commands rely on them.

Such files get edited, merged and damaged. They are validated when read, so later code can trust each value. A field with a
default may be missing; unread keys are free. Knows JSON values; neither files nor what the values mean.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trlt.errors import DataError, shown
from trlt.files.bounded_json import read_object

Count = Annotated[int, Field(ge=0)]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]
"""A list in JSON, a tuple in Python."""
STRICT = ConfigDict(strict=True)
"""Config of a dataclass stored in a file: values aren't converted, and other keys are ignored."""


class Form(BaseModel):
    """The common base: values aren't converted."""

    model_config = ConfigDict(strict=True, extra="allow")


class InputForm(Form):
    """An input in a manifest."""

    path: str = ""
    sha256: str = ""
    videos: str | None = None
    split: str | None = None
    files: dict[str, str] = {}


class ParityForm(Form):
    """Differences between rollout, trainer and the library."""

    largest: float
    tokens: Count


class SamplerForm(Form):
    """What drew answers in place of the engine, in a manifest."""

    name: str


class RewardPartForm(Form):
    """A part of the reward besides the paper's, in a manifest."""

    name: str
    weight: float
    file: str | None = None
    files: dict[str, str] = {}


class ManifestForm(Form):
    """`manifest.json` of any run."""

    kind: str = ""
    created: str = ""
    model: dict[str, Any] = {}
    protocol: dict[str, Any] = {}
    inputs: dict[str, InputForm] = {}
    videos: str | None = None
    parity: ParityForm | None = None
    sampler: SamplerForm | None = None
    reward: list[RewardPartForm] = []


class BootstrapForm(Form):
    """Settings of the bootstrap."""

    resamples: Annotated[int, Field(ge=1, le=1_000_000)]
    seed: Count


class ProtocolForm(Form):
    """The protocol behind a benchmark's metrics."""

    bootstrap: BootstrapForm
    annotations: dict[str, str]
    questions_left_out: Count = 0


class BenchmarkForm(Form):
    """A benchmark in `results.json`."""

    n: Count
    unanswered: Count
    missing_videos: Count = 0
    broken_videos: Count = 0
    missing_predictions: Count = 0
    extra_predictions: Count = 0
    paper: dict[str, float]
    official: dict[str, float]
    ci95: dict[str, Pair]
    lenient: dict[str, float] = {}
    lenient_ci95: dict[str, Pair] = {}
    lenient_unanswered: Count = 0
    protocol: ProtocolForm | None = None


class ResultsForm(Form):
    """`results.json` of `trlt eval`."""

    benchmarks: dict[str, BenchmarkForm]


class TrainResultForm(Form):
    """`result.json` of `trlt train`."""

    reward_first: float | None = None
    reward_last: float | None = None
    parity: ParityForm | None = None


class LogLineForm(Form):
    """A line of `log.jsonl`: metrics of a step, by name."""

    step: Count
    reward: float = 0.0


class VisitForm(Form):
    """A line of `difficulty.jsonl`."""

    step: Count
    id: str
    mean: float
    reward_range: float


class AskedForm(Form):
    """A line of `online.jsonl`: an asked group, or how a step's prompts were chosen."""

    step: Count
    kind: Literal["kept", "tried", "probe", "chosen"]
    id: str = ""
    n: Count = 0
    score: float = 0.0
    mean: float = 0.0
    reward_range: float = 0.0
    replayed: Count = 0
    rare: dict[str, Any] | None = None
    position: Count = 0
    groups: Count = 0


class MomentsForm(Form):
    """A line of `task_scale.jsonl`."""

    step: Count
    task: Literal["multi_choice", "grounding", "grounded_qa"]
    mean: float
    square: float


class AnswerForm(Form):
    """The parsed completion."""

    payload: str | None
    option: Count | None
    span: Pair | None
    spans: list[Pair] = []
    choices: list[Count] = []
    well_formed: bool


class ScoresForm(Form):
    """The scores of a completion."""

    format: float
    accuracy: float | None
    tiou: float | None


class GeneratedForm(Form):
    """A completion that isn't graded yet."""

    text: str
    tokens: Count
    finished: bool


class UngradedForm(Form):
    """Completions that couldn't be graded, with what their row needs besides."""

    said: list[GeneratedForm]
    video_tokens: Count
    length_s: float | None


class RowForm(Form):
    """A row of `trlt probe`, `eval` or `infer`."""

    id: str
    error: str | None = None
    source: str = ""
    task: Literal["multi_choice", "grounding", "grounded_qa"] = "grounding"
    texts: list[str] = []
    answers: list[AnswerForm] = []
    scores: list[ScoresForm] = []
    parts: dict[str, list[float | None]] = {}
    rewards: list[float] = []
    tokens: list[Count] = []
    finished: list[bool] = []
    n: Count = 0
    correct: Count | None = None
    ious: list[float] | None = None
    delta_iou: float | None = None
    reward_range: float | None = None
    mean: float | None = None
    format_rate: float | None = None
    video_tokens: Count = 0
    warning: str = ""
    ungraded: UngradedForm | None = None


T = TypeVar("T")


def build(value: Any, form: Callable[..., T], where: str, remedy: str) -> T:
    """The validated value of a JSON object.

    Args:
        value: The value as read.
        form: A form, or a dataclass of pydantic's with `STRICT`.
        where: Starts the message: the file, and line if it has several.
        remedy: Ends it.

    Raises:
        DataError: it has another form; names the first faulty value.
    """
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a JSON object, got {shown(value)}; {remedy}")
    try:
        return form(**value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place, said = ".".join(map(str, first["loc"])), first["msg"]
        got = "" if first["type"] == "missing" else f", got {shown(first['input'])}"
        raise DataError(f"{where}: {shown(place)[1:-1]}: {said[0].lower()}{said[1:]}{got}; {remedy}") from None


def read_form(path: Path, form: Callable[..., Any], remedy: str) -> dict[str, Any]:
    """The object of a JSON file if it has the form; raises what `read_object` and `build` do."""
    return hold(read_object(path, remedy=remedy), form, str(path), remedy)


def hold(value: T, form: Callable[..., Any], where: str, remedy: str) -> T:
    """A JSON value unchanged if it has the form; takes and raises what `build` does."""
    build(value, form, where, remedy)
    return value
