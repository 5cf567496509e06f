"""What distinguishes one family of models from another, behind one interface; see docs/families.md for how to add one.

Geometry, keys of a config.json and names need no torch: decoding processes and the plan of memory read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from trlt.video.geometry import Geometry

if TYPE_CHECKING:
    from torch import Tensor

    from trlt.engine.attention import Branches
    from trlt.engine.families.shape import Architecture
    from trlt.engine.inputs import ClipInputs
    from trlt.video.clip import Clip

THINKING = "enable_thinking"
"""Variable of chat templates that begin a completion by whether reasoning is asked for."""
VIDEO, START, END = "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"


class Classes(NamedTuple):
    """Transformers' classes of a family."""

    config: Any
    model: Any
    processor: Any


class Rendered(NamedTuple):
    """A chat as text, cut where its video stands."""

    head: str
    """Before the video and its marks."""
    tail: str
    """After them, up to the start of the completion."""
    opening: str = ""
    """What the template has begun of the completion: the end of `tail`, which parsing and rewards take for its beginning."""


class Told(NamedTuple):
    """What another program is told of a clip's frames, so that it makes the same of their times."""

    fps: float
    """Frames a second of the file that they would be from,"""
    indices: list[int]
    """and their numbers in it."""
    duration: float
    """Seconds of the clip."""


def chat(system: str, user: str) -> list[dict[str, Any]]:
    """One turn that shows a video and asks, as prompts are made of."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    return [*messages, {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": user}]}]


class Family:
    """One family. Methods take loaded models of it; they hold no state of their own."""

    name: ClassVar[str]
    """As its makers write it."""
    model_types: ClassVar[tuple[str, ...]]
    """`model_type` in config.json."""
    hub_names: ClassVar[tuple[str, ...]]
    """Parts of the names, in lower case, under which its models are published."""
    geometry: ClassVar[Geometry] = Geometry()
    class_names: ClassVar[tuple[str, str, str]]
    """Names of transformers' classes of configuration, model and processor."""
    placeholder: ClassVar[str] = f"{START}{VIDEO}{END}"
    """What a chat template writes for a video, once `adapt_processor` has seen it; `video_ids` takes the place of all of it."""
    pixels: ClassVar[Mapping[str, Sequence[float]]]
    """What every tower of the family has seen pixels by: (value x factor - mean) / std, by channel."""
    attention_layers: ClassVar[tuple[str, ...]] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Linear layers of attention, which adapters may go to."""
    mlp_layers: ClassVar[tuple[str, ...]] = ("gate_proj", "up_proj", "down_proj")
    """Linear layers of MLPs, which adapters may go to."""
    experts: ClassVar[tuple[str, ...]] = ()
    """How names of weights end of which each holds a matrix of all experts of a layer, which adapters may go to."""
    router: ClassVar[str] = ""
    """Class of the layer that chooses a token's experts."""
    blocks: ClassVar[tuple[str, str]]
    """Classes of a decoder layer and of a vision block: what is shared out, and computed again, as one."""
    unloaded: ClassVar[tuple[str, ...]] = ()
    """How names of published tensors begin for which the library has no use; what is saved lacks them."""
    turned: ClassVar[tuple[str, ...]] = ()
    """How names of weights end of which published files hold the last two axes the other way round."""
    rounding: ClassVar[float] = 1.0
    """How many times further than in plain attention two float32 evaluations of a logit may lie apart (`sampling.NOISE`)."""
    time_tokens: ClassVar[int] = 0
    """Tokens of text and marks a temporal patch, at most, beside those of the video itself."""
    time_in: ClassVar[Literal["positions", "text"] | None] = None
    """Where a prompt holds the times of its frames; None: nowhere."""
    sglang: ClassVar[bool] = False
    """Whether SGLang, started as `servers.sglang` says, was seen to read videos of the family as the engine does."""

    # -- files ----------------------------------------------------------------------------------------------------

    def classes(self) -> Classes:
        """Transformers' classes; imports transformers."""
        import transformers

        return Classes(*(getattr(transformers, name) for name in self.class_names))

    def check(self, config: Mapping[str, Any]) -> None:
        """Holds a config.json to the keys that decide what a model of this family says.

        Raises:
            ConfigFault: names the key.
        """
        raise NotImplementedError

    def shape(self, config: Mapping[str, Any]) -> Architecture:
        """What a checked config.json says of parameters and widths; see `layouts` for what families share."""
        raise NotImplementedError

    def adapt(self, model: Any) -> None:
        """Makes a loaded model follow its family's published rules where the library doesn't; a second call changes nothing."""

    def adapt_processor(self, processor: Any, config: Mapping[str, Any]) -> None:
        """The same for a loaded processor, before its chat template is looked at."""

    def has_outer_marks(self, config: Any) -> bool:
        """Whether chat templates write vision marks around `placeholder`, by a config.json or a loaded configuration."""
        return False

    def as_published(self, name: str, value: Tensor) -> Tensor:
        """A whole weight as published files hold it, by its name in the model; a view where that is another layout."""
        return value.transpose(-1, -2) if name.endswith(self.turned) else value

    def tiny(self, tokenizer: Any, template: str, *, seed: int = 0, hidden: int = 128, layers: int = 4) -> tuple[Any, Any]:
        """(model, processor) with random weights, in float32: the real classes, small.

        Args:
            tokenizer: With the family's marks as special tokens; `<|im_end|>` ends a turn.
            template: Of chats.
            seed: Of the weights.
            hidden: Width of the language model, a multiple of 64.
            layers: Its depth.
        """
        raise NotImplementedError

    # -- inputs ---------------------------------------------------------------------------------------------------

    def patches(self, processor: Any, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (patches, values) and grid (1, 3) of frames (T, C, H, W); nothing is resized or sampled again."""
        out = processor.video_processor(
            videos=[frames], do_resize=False, do_sample_frames=False, cap_pixels_per_frame=False, return_tensors="pt"
        )
        return out["pixel_values_videos"], out["video_grid_thw"]

    def metadata(self, clip: Clip) -> dict[str, Any]:
        """What the library's processor is told of a clip's frames, as its `video_metadata`: their true rate."""
        count = len(clip.frames)
        return {"fps": clip.sample_fps, "total_num_frames": count, "frames_indices": list(range(count))}

    def video_ids(self, tokenizer: Any, clip: ClipInputs) -> list[int]:
        """All tokens that a clip becomes, its marks included; in place of `placeholder`."""
        start, video, end = tokenizer.convert_tokens_to_ids([START, VIDEO, END])
        return [start, *[video] * clip.tokens, end]

    def chat(self, processor: Any, messages: Sequence[Mapping[str, Any]], think: bool | None) -> str:
        """The text of a chat up to the start of the completion.

        Args:
            processor: With the chat template.
            messages: As the library takes them.
            think: Whether reasoning is asked for; None, and templates that have no say in it, leave it out.
        """
        asked = {} if think is None or THINKING not in str(processor.chat_template) else {THINKING: think}
        return str(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **asked))

    def positions(self, model: Any, ids: Tensor, clip: ClipInputs) -> Tensor:
        """M-RoPE positions (3, N) of ids (N,) that hold one clip."""
        row = ids[None]
        # The library's kinds: 2 is video, 0 is text.
        kinds = (row == model.config.video_token_id).int() * 2
        positions, _ = model.model.get_rope_index(row, mm_token_type_ids=kinds, video_grid_thw=clip.grid, **self.seconds(clip))
        return positions[:, 0]  # type: ignore[no-any-return]

    def seconds(self, clip: ClipInputs) -> dict[str, Tensor]:
        """What the library's rule of positions takes of a clip's times; nothing where positions tell none."""
        return {}

    # -- passes ---------------------------------------------------------------------------------------------------

    def attach(self, model: Any) -> None:
        """Makes a model's layers take `branches=`; without it, they stay as they are. A second call changes nothing."""
        from trlt.engine.attention import use_branches
        from trlt.engine.window_attention import use_windows

        use_branches(model)
        use_windows(model)

    def encode(self, model: Any, pixels: Tensor, grid: Tensor) -> list[Tensor]:
        """Features (tokens, width) of each clip from patches of all and grids (clips, 3)."""
        return list(model.model.get_video_features(pixels, grid).pooler_output)

    def states(
        self, model: Any, ids: Tensor, positions: Tensor, features: Tensor | None = None, branches: Branches | None = None
    ) -> Tensor:
        """Hidden states (R, T, d) of one pass of the language model.

        Args:
            model: Of this family.
            ids: (R, T) token ids, padded on the right.
            positions: (3, R, T)
            features: (video tokens, width) of the rows' videos, row by row; None where no row has one.
            branches: Who sees whom; None is plain causal attention in each row.
        """
        embeds = model.get_input_embeddings()(ids)
        given: dict[str, Any] = {}
        if features is not None:
            # Row by row, in the order of the features. Padding holds no video token, and stands where no causal row sees it.
            embeds, given = self.placed(embeds, ids == model.config.video_token_id, features)
        if branches is not None:
            from trlt.engine.linear_attention import require_forked

            require_forked(model.model.language_model, branches)
            given["branches"] = branches
        out = model.model.language_model(
            inputs_embeds=embeds,
            position_ids=positions,
            attention_mask=self.no_mask(),
            # `branches` records keys and values; the library's cache would hold them a second time.
            use_cache=False,
            **given,
        )
        return out.last_hidden_state  # type: ignore[no-any-return]

    def placed(self, embeds: Tensor, video: Tensor, features: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Embeddings (R, T, d) with features in place of video tokens (R, T), and what else the language model is given."""
        return embeds.masked_scatter(video[..., None], features.to(embeds.dtype)), {}

    def no_mask(self) -> Any:
        """What the language model takes for masks that are made already, so that the library makes none."""
        return {"full_attention": None}

    # -- other programs -------------------------------------------------------------------------------------------

    def told_vllm(self, clip: Clip, config: Any = None) -> Told:
        """What vLLM is told of a clip's times.

        Args:
            clip: Its frames' times, and how many there are.
            config: Of the model; None takes what is published.
        """
        return Told(clip.sample_fps, list(range(len(clip.frames))), len(clip.frames) / clip.sample_fps)

    def text(self, clip: Clip) -> str:
        """What a clip becomes in a prompt, marks included; as `video_ids`, for those who have no tokenizer."""
        return f"{START}{VIDEO * clip.tokens}{END}"

    def length(self, clip: Clip) -> int:
        """How many tokens that is, but for marks around all of it, where a family has them."""
        return clip.tokens
