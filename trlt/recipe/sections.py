"""The sections of a recipe, one per stage: each key with type, bounds, default and meaning. Knows neither files nor torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trlt.recipe._base import Decoding, Input, Means, Outcome, Positive, Results, Section, Share
from trlt.recipe.prompts import Prompts
from trlt.recipe.rewards import Rewards
from trlt.recipe.selection import Select
from trlt.recipe.training import Train
from trlt.task.answer import AnswerFormat
from trlt.task.grade import Grader
from trlt.task.prompt_form import PromptForm


class Model(Section):
    """Model weights and precision."""

    path: Input[str] = "Qwen/Qwen2.5-VL-7B-Instruct"
    """A folder (of a model, a LoRA adapter or a run), a hub id, or `miniature` (`miniature-plain`), which ships with trlt."""
    dtype: Outcome[Literal["bfloat16", "float32"]] = "bfloat16"
    """Precision of weights and activations."""
    device: Means[str] = "auto"
    """`auto` uses the GPU if there is one; or `cpu`, `cuda`, `cuda:1`."""


class Video(Section):
    """How a file becomes frames: one budget for every stage (4.1 of the paper)."""

    root: Input[str | None] = None
    """Folder that the samples' video paths are relative to."""
    fps: Outcome[Annotated[float, Field(gt=0)]] = 2.0
    """Frames sampled per second."""
    min_frames: Outcome[Annotated[int, Field(ge=2)]] = 4
    max_frames: Outcome[Annotated[int, Field(ge=2)]] = 768
    min_tokens: Outcome[Positive] = 4
    """Minimum number of tokens per temporal patch (two frames); a token is 28 x 28 pixels, of Qwen3-VL and Qwen3.5 32 x 32."""
    max_tokens: Outcome[Positive] = 2048
    """Maximum number of tokens per video; the text of times that some families write between frames comes on top."""
    store: Means[str | None] = None
    """Folder of the frame store; null decodes each time."""
    store_gb: Means[Annotated[float, Field(gt=0)]] = 20.0
    """Maximum size of the frame store in GB; the least recently used entries are removed first."""
    timeout_s: Means[Annotated[float, Field(gt=0)]] = 120.0
    """Time limit for decoding a file, in seconds; files that exceed it are listed as broken."""
    memory_gb: Means[Annotated[float, Field(gt=0)]] = 4.0
    """Memory limit of one decoding process in GB; files that need more are listed as broken."""
    workers: Means[Annotated[int, Field(ge=0)]] = 2
    """Processes that decode ahead; 0 decodes in the main process, without limits of time and memory."""
    downloads: Means[str | None] = None
    """Download folder for videos given as http(s) URLs; null refuses them."""
    links: Means[str | None] = None
    """Folder outside of `root` that links in it may lead into, such as the `blobs` of a download cache; null refuses them."""

    @model_validator(mode="after")
    def _frames(self) -> Self:
        if self.min_frames > self.max_frames:
            raise ValueError(f"video.min_frames ({self.min_frames}) is above video.max_frames ({self.max_frames})")
        return self


class Data(Section):
    """How a table of questions that isn't trlt's own is read, wherever samples are named (`--data`, `train.data`)."""

    map: Input[dict[str, str]] = Field(default_factory=dict)
    """Field -> its column, where the column's name doesn't tell; an empty column means that the table has no such field."""
    skip_bad: Input[bool] = False
    """Leave out rows that can't be used, and list them."""
    skip_missing: Input[bool] = False
    """Leave out rows whose video isn't there, and list them."""


class Probe(Decoding):
    """Repeated answers of the base model (3.1 and appendix A of the paper)."""

    n: Outcome[Annotated[int, Field(ge=2)]] = 8
    """Completions per sample."""
    answer_format: Outcome[AnswerFormat] = "open"


class Source(Section):
    """A data set's downloads, for `trlt prepare`."""

    dataset: Outcome[str]
    """Name of the data set, as in `trlt prepare --list`, or the file of one outside of the package, whose code is run."""
    annotations: Input[str]
    """Folder with the official files under their own names, or the annotation file."""
    videos: Input[str | None] = None
    split: Outcome[str | None] = None


class Prepare(Section):
    """Which sources make up the pool, and how to treat duplicates, several gold spans and leaks."""

    sources: Outcome[tuple[Source, ...]] = Field(default=(), strict=False)
    """Sources in order of priority: a duplicate is kept in the first one."""
    several_spans: Outcome[Literal["keep", "ask", "longest", "hull", "drop"]] = "keep"
    """How to treat samples with several gold spans; `ask` asks for all spans of a grounding query."""
    against: Outcome[tuple[str, ...]] = Field(default=(), strict=False)
    """Benchmarks whose videos must not be trained on: `benchmarks` (those of `eval.benchmarks`), `<bench>=<folder>`, or a
    folder with one subfolder per benchmark."""
    leaks: Outcome[Literal["remove", "list"]] = "remove"
    """Samples on a benchmark's video are left out, or kept, flagged and listed."""


class Benchmark(Section):
    """Where a benchmark's files are: official ones, or questions of one's own."""

    annotations: Input[str | None] = None
    """Folder with the official files under their own names, or the annotation file."""
    data: Input[str | None] = None
    """Own questions in place of a benchmark's, as `trlt eval --data` takes them; the entry's name is theirs."""
    dataset: Input[str | None] = None
    """File of a data set outside of the package (`mybench.py`), whose code is run; the entry's name is the benchmark's."""
    videos: Input[str | None] = None
    split: Outcome[str | None] = None
    """A split other than the test split."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.data is None and self.annotations is None:
            raise ValueError("annotations: missing, and has no default; or data, for own questions")
        other = [key for key in ("annotations", "dataset", "split") if getattr(self, key) is not None]
        if self.data is not None and other:
            raise ValueError(f"data and {other[0]}: own questions are one file of samples; leave {other[0]} out, or data")
        return self


LEAST_SPREAD = 0.1
"""Temperature and top_p below which samples are nearly greedy: several are the same."""


class Eval(Decoding):
    """How benchmarks are answered (4.1 of the paper)."""

    temperature: Outcome[Annotated[float, Field(gt=0)]] = 0.01
    top_p: Outcome[Share] = 0.001
    max_new_tokens: Outcome[Positive] = 1024
    samples_per_question: Outcome[Annotated[int, Field(ge=1, le=256)]] = 1
    """Completions per question: metrics are means over them. Above 1, raise `temperature` and `top_p` to 0.1 or more."""
    think: Outcome[bool] = True
    as_gqa: Outcome[bool] = False
    """Ask multi-choice questions with the grounded QA template; only the answer is scored (Table 6)."""
    max_tokens_video: Outcome[Positive | None] = None
    """A video budget other than `video.max_tokens` (4096 in Table 3)."""
    protocol: Outcome[Literal["paper", "official", "lmms-eval", "vlmevalkit"]] = "paper"
    """Whose frames, prompt, token limit and reading: the paper's, or those of a benchmark's authors or of another harness
    (docs/protocols.md). One other than `paper` sets `video`, `prompt` and the decoding of each benchmark itself."""
    subtitles: Outcome[bool] = False
    """Show a benchmark's subtitles in its prompts, after the video and before the question, a line each with its time; `infer`
    shows none."""
    subtitle_chars: Outcome[Positive] = 40_000
    """Most characters of subtitles in a prompt (about 10,000 tokens of English); of longer ones lines are left out evenly."""
    bootstrap: Results[Annotated[int, Field(ge=100)]] = 1000
    """Resamples of videos behind each 95% interval."""
    benchmarks: Input[dict[str, Benchmark]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _spread(self) -> Self:
        if self.samples_per_question > 1 and min(self.temperature, self.top_p) < LEAST_SPREAD:
            raise ValueError(
                f"eval.samples_per_question ({self.samples_per_question}) asks for different answers, and eval.temperature "
                f"({self.temperature}) with eval.top_p ({self.top_p}) gives one answer again and again; set both to "
                f"{LEAST_SPREAD} or more, such as --set eval.temperature=0.7 --set eval.top_p=0.95"
            )
        return self


Stage = Literal["probe", "train", "eval"]
"""The stages that ask questions."""


class Recipe(Section):
    """A whole experiment."""

    name: Means[str] = Field(default="trlt", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    model: Model = Model()
    video: Video = Video()
    data: Data = Data()
    prepare: Prepare = Prepare()
    probe: Probe = Probe()
    select: Select = Select()
    prompt: Prompts = Prompts()
    reward: Rewards = Rewards()
    train: Train = Train()
    eval: Eval = Eval()

    def form(self, stage: Stage) -> PromptForm:
        """How a stage asks, and reads completions; `infer` and `serve` ask as `eval`."""
        asked: Decoding | Train = getattr(self, stage)
        as_gqa = stage == "eval" and self.eval.as_gqa
        return PromptForm(asked.think, asked.answer_format, asked.open_threshold, as_gqa, self.prompt.words())

    def grader(self, stage: Stage, step: int = 0, *, replies: Path | None = None) -> Grader:
        """What a stage's completions earn; files of the reward's own parts are run for it (`Rewards.load`).

        Args:
            stage: Where they are sampled.
            step: Optimizer steps that are done, which decide on the reward's phase; other stages than training have the first.
            replies: Folder where a judge's replies are kept; None keeps them for this process.
        """
        reward = self.reward.at(step if stage == "train" else 0)
        return Grader(self.form(stage), reward.weights(), reward.load(replies), reward.rules())

    @model_validator(mode="after")
    def _rewarded(self) -> Self:
        stages = {f"train.stages.{place}.": self.train.stage(place) for place in range(len(self.train.stages))}
        for named, train in (stages or {"train.": self.train}).items():
            if train.method == "grpo" and (fault := self._reward_fault(train, named)):
                raise ValueError(fault)
        return self

    def _reward_fault(self, train: Train, named: str) -> str | None:
        """Why the reward can't be that of a training, or None.

        Args:
            train: The section of the training.
            named: Before its keys: `train.`, or a stage's.
        """
        for phase in self.reward.phases:
            if train.max_steps is not None and phase.after_steps >= train.max_steps:
                return f"{phase.named} never begins in {named}max_steps ({train.max_steps}); lower it, or leave the phase out"
        for reward in self.reward.each():
            if reward.length is not None and reward.length.low - reward.length.ramp >= train.max_new_tokens:
                return (
                    f"reward.length.low ({reward.length.low}) is out of reach of {named}max_new_tokens "
                    f"({train.max_new_tokens}): no completion would be paid; lower it"
                )
            heavy = next((task for task, own in reward.tasks.items() if own.weight != 1), None)
            if heavy is not None and train.scale_rewards in ("group", "task"):
                return (
                    f"reward.tasks.{heavy}.weight ({reward.tasks[heavy].weight:g}) cancels out where advantages are divided by "
                    f"the deviation of their {train.scale_rewards} ({named}scale_rewards: {train.scale_rewards}); set "
                    f"{named}scale_rewards to none or batch, or weigh the task's parts against each other "
                    "(reward.tasks.<task>.format)"
                )
        return None
