"""The section `train` of a recipe: how a run is made; `update` holds an optimizer step. Knows neither files nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from trlt.recipe._base import Input, Means, Outcome, Positive, Rounding, Section, Share
from trlt.recipe.algorithms import with_algorithm
from trlt.recipe.online import Online
from trlt.recipe.stages import ALL, complete, merged
from trlt.recipe.update import Correction, Update
from trlt.task.answer import AnswerFormat


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

    stages: Outcome[tuple[dict[str, Any], ...]] = Field(default=(), strict=False)
    """Stages one after the other, each with those keys of this section that are other in it; each begins with the weights that
    the one before it ends with. Empty: this section is the only one. See [algorithms](algorithms.md#stages)."""
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
    online: Outcome[Online | None] = None
    """Choose prompts by what earlier groups earned; null asks the samples in the epoch's random order."""
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

    def stage(self, place: int) -> Train:
        """A stage's own section, by its place from 0; negative ones count from the end."""
        values = self.model_dump(mode="json", exclude={ALL})
        return Train.model_validate(merged(values, self.stages[place]))

    @property
    def last(self) -> Train:
        """The section of the last stage: the one that a run's folder ends with."""
        return self.stage(-1) if self.stages else self

    @property
    def tower_is_frozen(self) -> bool:
        """Whether the vision tower stays as it is."""
        return self.freeze_vision or self.lora is not None

    @property
    def gives_answers(self) -> bool:
        """Whether groups may hold answers that the policy of the step didn't draw."""
        return self.offline is not None or (self.online is not None and self.online.replay is not None)

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

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        """Fills in what `algorithm` stands for."""
        return with_algorithm(values) if isinstance(values, Mapping) else values

    @model_validator(mode="before")
    @classmethod
    def _staged(cls, values: Any) -> Any:
        """Resolves the stages. From the keys as they were read: what an algorithm stands for isn't among them yet."""
        return complete(values, cls) if isinstance(values, Mapping) and values.get(ALL) else values

    @model_validator(mode="after")
    def _places(self) -> Self:
        if self.offline is not None and self.offline.per_group >= self.group_size:
            raise ValueError(
                f"train.offline.per_group ({self.offline.per_group}) must leave places of train.group_size ({self.group_size}) "
                "to the policy; lower it"
            )
        return self

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
    def _online_can(self) -> Self:
        if self.online is None:
            return self
        if self.method != "grpo":
            raise ValueError(f"train.online chooses prompts by their groups' rewards, and train.method: {self.method} has none")
        if self.online.replay and self.online.replay.most >= self.group_size:
            raise ValueError(
                f"train.online.replay.most ({self.online.replay.most}) must be below train.group_size ({self.group_size}): "
                "success isn't rare where all completions succeed; lower it"
            )
        if self.online.replay and self.ratio_level == "sequence":
            raise ValueError(
                "train.online.replay weighs each token, and train.ratio_level: sequence whole completions; take "
                "train.ratio_level: token"
            )
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
