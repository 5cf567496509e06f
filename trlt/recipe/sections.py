"""The sections of a recipe, one per stage: each key with type, bounds, default and meaning. Knows neither files nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from trlt.recipe._base import Decoding, Input, Means, Outcome, Positive, Results, Rounding, Section, Share
from trlt.recipe.prompts import Prompts
from trlt.recipe.rewards import Rewards
from trlt.recipe.update import Correction, Update
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


class Sizes(Section):
    """How many samples of each task a selection holds at most."""

    multi_choice: Outcome[Annotated[int, Field(ge=0)]] = 16_000
    grounding: Outcome[Annotated[int, Field(ge=0)]] = 8_000
    grounded_qa: Outcome[Annotated[int, Field(ge=0)]] = 8_000


class Select(Section):
    """Which probed samples are trained on (3.2 to 3.4 and appendix A of the paper)."""

    hard: Outcome[Annotated[int, Field(ge=0)]] = 1
    """Correct answers of n up to which a sample is hard."""
    easy: Outcome[Annotated[int, Field(ge=1)]] = 7
    """Correct answers of n from which a sample is easy; a sample with only correct answers is always easy."""
    delta_iou: Outcome[Annotated[float, Field(ge=0, le=1)]] = 0.3
    """Minimum Δ_IoU (max - mean of the IoUs) of a grounding sample."""
    grounded_delta_iou: Outcome[Annotated[float, Field(ge=0, le=1)]] = 0.1
    """The same for grounded QA, which must be medium as well."""
    sizes: Sizes = Sizes()
    ratio: Outcome[Annotated[str, Field(pattern=r"^\d+:\d+:\d+$")]] = "0:10:0"
    """easy:medium:hard shares of multi-choice samples (Table 4a)."""
    by: Outcome[Literal["rules", "variance", "random"]] = "rules"
    """`rules` goes by difficulty and Δ_IoU, as above; `variance` takes the samples whose rewards vary most; `random` samples
    uniformly from each task, whatever the difficulty and source, as a control."""
    budget: Outcome[Positive | None] = None
    """Total number of samples, split among the tasks in proportion to `sizes`; null uses `sizes` as they are."""
    seed: Outcome[Annotated[int, Field(ge=0)]] = 0

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.hard >= self.easy:
            raise ValueError(
                f"hard ({self.hard}) must be below easy ({self.easy}): with the paper's literal text "
                "(easy from 1, hard up to 7) no sample is medium; its two names are swapped here"
            )
        if not any(int(part) for part in self.ratio.split(":")):
            raise ValueError("ratio must have at least one share above 0")
        if self.budget is not None and not any(self.sizes.model_dump().values()):
            raise ValueError(f"budget ({self.budget}) is shared in proportion to sizes, of which one must be above 0")
        return self


class Sft(Section):
    """The supervised baseline (`train.method: sft`)."""

    targets: Outcome[Literal["answer", "reasoning", "mixed"]] = "answer"
    """`answer` tags alone; with `meta.reasoning` in `<think>` tags; or each sample once in either form."""
    answer_formats: Outcome[tuple[AnswerFormat, ...]] = Field(default=("letter",), min_length=1, strict=False)
    """Answer formats of the prompts, drawn uniformly."""
    batch: Outcome[Positive] = 48
    """Samples per optimizer step."""


class Lora(Section):
    """Low-rank adapters instead of training all weights; the vision tower stays frozen."""

    rank: Outcome[Positive] = 64
    alpha: Outcome[Positive] = 128
    """Scales adapters by `alpha / rank`."""
    dropout: Outcome[Annotated[float, Field(ge=0, lt=1)]] = 0.0
    targets: Outcome[Literal["attention", "all"]] = "all"
    """Which linear layers of the language model: those of the attention, or those of the MLPs as well. In a mixture of experts,
    `all` gives each expert adapters of its own, and where nothing is said, `attention` counts."""
    quantize: Outcome[Literal["nf4"] | None] = None
    """Quantize the base to 4 bits (QLoRA); needs a GPU and bitsandbytes."""


class Launch(Section):
    """How `trlt train` starts itself on one machine."""

    processes: Means[Annotated[int, Field(ge=0)]] = 0
    """Number of processes, one per GPU; 0 uses all local GPUs, or one CPU process."""
    strategy: Means[Literal["ddp", "fsdp2", "zero2", "zero3"]] = "fsdp2"
    """How more than one process shares the weights: `fsdp2`, or DeepSpeed's `zero2` and `zero3` (without `train.lora`), or
    `ddp`, which doesn't."""
    gpu_gb: Means[Annotated[float, Field(gt=0)] | None] = None
    """GPU memory in 10^9 bytes for the plan; null uses that of this machine's GPUs, else 80. A run counts with its GPUs where
    they are smaller, unless this is typed with `--set`."""


class Vllm(Section):
    """vLLM as the source of rollouts (`train.rollouts: vllm`): a process beside each training process, on the same GPU."""

    python: Means[str | None] = None
    """Python of vLLM's environment, which may have another torch; null uses that of TRLT_VLLM_PYTHON, else the current one.
    `--vllm` of probe, eval and infer takes it, too."""
    memory: Means[Share] = 0.3
    """Fraction of the GPU's memory used while sampling, for weights and KV cache."""
    sleep: Means[bool] = True
    """Release that memory between rollouts, for the update."""


class Train(Update):
    """The update (4.1 of the paper; where it is silent, the authors' released code)."""

    method: Outcome[Literal["grpo", "sft"]] = "grpo"
    data: Input[str | None] = None
    """Samples as JSONL, from `trlt select` or `trlt prepare`; or a table of questions (docs/data.md)."""
    prompts_per_step: Outcome[Positive] = 48
    """Prompts per optimizer step, over all processes."""
    prompts_per_pass: Rounding[Positive] = 1
    """Prompts per forward and backward pass of one process, at most: fewer where the plan of memory needs it, but not
    with `loss: bnpo`."""
    group_size: Outcome[Annotated[int, Field(ge=2)]] = 8
    """Completions per prompt (G)."""
    think: Outcome[bool] = True
    save_steps: Means[Positive] = 50
    """Optimizer steps between checkpoints."""
    keep_checkpoints: Means[Positive] = 2
    tokens_per_pass: Rounding[Positive | None] = None
    """Tokens per forward and backward pass of one process: as many groups share it as fit, at least one; null puts
    `prompts_per_pass` groups into a pass, whatever their size."""
    shared_prefix: Rounding[bool] = True
    """Compute the prompt once per group; false repeats it for each completion (slower, equal)."""
    attention: Rounding[Literal["blocks", "flex"]] = "blocks"
    """How the tree mask is computed: by blocks with SDPA, or by FlexAttention's block mask (GPUs only)."""
    gradient_checkpointing: Means[bool] = True
    freeze_vision: Outcome[bool] = False
    """Don't train the vision tower: it then runs once per clip for rollouts, policy and reference together."""
    features: Means[str | None] = None
    """Folder that keeps a frozen vision tower's features of clips from epoch to epoch; null computes them once per step."""
    features_gb: Means[Annotated[float, Field(gt=0)]] = 50.0
    """Maximum size of that folder in GB; the least recently used entries are removed first."""
    lora: Outcome[Lora | None] = None
    """Train adapters instead of all weights; null trains all."""
    min_reward_range: Outcome[Annotated[float, Field(ge=0)]] = 0.0
    """Groups with a smaller reward range (max - min) are replaced by new prompts; 0 keeps all."""
    max_tries: Outcome[Positive] = 3
    """Maximum number of prompts tried per slot of a batch for `min_reward_range`; the group with the widest range is kept."""
    retire_after: Outcome[Positive | None] = None
    """Drop a sample after this many consecutive zero-variance groups; null keeps all."""
    max_broken: Means[Annotated[float, Field(ge=0, le=1)]] = 0.1
    """Maximum fraction of broken samples; each is listed and replaced, and the run ends above it."""
    completions_every: Means[Positive] = 1
    """Steps between those whose completions are saved as Parquet in the run's folder."""
    report_to: Means[tuple[Literal["tensorboard", "wandb", "trackio"], ...]] = Field(default=(), strict=False)
    rollouts: Outcome[Literal["engine", "vllm"]] = "engine"
    """What samples completions: trlt's `engine`, or `vllm`, after a check that it agrees with the trainer."""
    vllm: Vllm = Vllm()
    sft: Sft = Sft()
    launch: Launch = Launch()

    @property
    def tower_is_frozen(self) -> bool:
        """Whether the vision tower stays as it is."""
        return self.freeze_vision or self.lora is not None

    @property
    def corrects(self) -> Correction:
        """`correction`, or the value that null means."""
        return self.correction or ("token_truncate" if self.rollouts == "vllm" else "none")

    @property
    def strategy(self) -> str:
        """How processes share the weights: `launch.strategy`; FSDP can't shard 4-bit weights, so these use `ddp`."""
        in_4_bits = self.lora is not None and self.lora.quantize is not None
        return "ddp" if in_4_bits and self.launch.strategy == "fsdp2" else self.launch.strategy

    @model_validator(mode="before")
    @classmethod
    def _was_in_sft(cls, values: Any) -> Any:
        """Reads `train.sft.scheduler` and `train.sft.warmup_steps`, where older recipes set them for supervised runs alone."""
        sft = values.get("sft") if isinstance(values, Mapping) else None
        if not isinstance(sft, Mapping) or not (moved := {"scheduler", "warmup_steps"} & sft.keys()):
            return values
        found = {**values, "sft": {key: value for key, value in sft.items() if key not in moved}}
        for key in sorted(moved) if found.get("method") == "sft" else ():
            if found.setdefault(key, sft[key]) != sft[key]:
                raise ValueError(
                    f"train.sft.{key} ({sft[key]}) is train.{key} now, which is {found[key]} here; leave train.sft.{key} out"
                )
        return found

    @model_validator(mode="after")
    def _economy(self) -> Self:
        if self.features is not None and not self.tower_is_frozen:
            raise ValueError(
                f"train.features ({self.features}) needs train.freeze_vision: a tower that is trained makes others each step"
            )
        if self.tokens_per_pass is not None and self.prompts_per_pass > 1:
            raise ValueError(
                f"train.tokens_per_pass ({self.tokens_per_pass}) and train.prompts_per_pass ({self.prompts_per_pass}) "
                "both say how many groups share a pass; leave one out"
            )
        if self.attention == "flex" and not self.shared_prefix:
            raise ValueError("train.attention: flex computes a shared prefix's mask; it needs train.shared_prefix: true")
        return self

    @model_validator(mode="after")
    def _vllm_can(self) -> Self:
        if self.rollouts != "vllm":
            return self
        if self.method != "grpo":
            raise ValueError(f"train.rollouts: vllm needs train.method: grpo; {self.method} draws no completions")
        if self.lora is not None and self.lora.quantize is not None:
            raise ValueError(
                f"train.rollouts: vllm is sent whole weights, and train.lora.quantize ({self.lora.quantize}) holds none; "
                "leave it out, or take train.rollouts: engine"
            )
        return self

    @model_validator(mode="after")
    def _shared(self) -> Self:
        if self.launch.strategy == "zero3" and self.lora is not None:
            raise ValueError(
                "train.launch.strategy (zero3) doesn't go with train.lora; take fsdp2 or zero2, or leave train.lora out"
            )
        return self

    @model_validator(mode="after")
    def _passes(self) -> Self:
        if self.prompts_per_step % self.prompts_per_pass:
            raise ValueError(
                f"train.prompts_per_step ({self.prompts_per_step}) must be a multiple of "
                f"train.prompts_per_pass ({self.prompts_per_pass})"
            )
        return self


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
    several_spans: Outcome[Literal["keep", "longest", "hull", "drop"]] = "keep"
    """How to treat samples with several gold spans."""
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

    def grader(self, stage: Stage) -> Grader:
        """What a stage's completions earn; files of the reward's own parts are run for it (`Rewards.load`)."""
        return Grader(self.form(stage), self.reward.weights(), self.reward.load())
