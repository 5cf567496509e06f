"""A small vLLM for tests: the calls that trlt makes, with vLLM's own names and checks, answered by transformers on the CPU.

FAKE_VLLM_LOG names a file that gets what it was asked, a line each; FAKE_VLLM_FAULT names a thing that it does wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoProcessor
from transformers.video_utils import VideoMetadata

from vllm.model_executor.layers import utils
from vllm.model_executor.model_loader.weight_utils import initialize_single_dummy_weight

warnings.simplefilter("ignore")
FAULT = os.environ.get("FAKE_VLLM_FAULT", "")
_PACK = utils.dispatch_cpu_unquantized_gemm


def die(place: str) -> None:
    """Ends as a process does that the system kills, where the fault is of that place; `place@name` in the one of that log."""
    fault, _, log = FAULT.partition("@")
    if fault == f"killed {place}" and os.readlink("/proc/self/fd/2").endswith(log):
        os.kill(os.getpid(), signal.SIGKILL)


def note(**told: Any) -> None:
    with open(os.environ["FAKE_VLLM_LOG"], "a", encoding="utf-8") as out:
        out.write(json.dumps({"pid": os.getpid(), **told}) + "\n")


@dataclass(kw_only=True)
class SamplingParams:
    n: int = 1
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop_token_ids: list[int] | None = None
    max_tokens: int | None = 16
    logprobs: int | None = None
    detokenize: bool = True
    logit_bias: dict[int, float] | None = None

    def __post_init__(self) -> None:
        if self.temperature == 0 and self.n > 1:
            raise ValueError("n must be 1 when using greedy sampling")
        if not 0 <= self.temperature <= 2:
            raise ValueError("temperature must be in [0, 2]")


@dataclass
class EngineArgs:
    model: str = ""
    if FAULT != "older":
        mm_device_do_normalize: bool | None = True


@dataclass
class Logprob:
    logprob: float


@dataclass
class CompletionOutput:
    index: int
    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None


@dataclass
class RequestOutput:
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]


class Model(torch.nn.Module):
    """With names of its own, as vLLM's model has them, and the published ones in `load_weights`."""

    def __init__(self, config: Any, dtype: torch.dtype, *, normalizes: bool) -> None:
        super().__init__()
        [name] = config.architectures
        self.inner = getattr(transformers, name)(config).to(dtype).eval().requires_grad_(False)
        self.register_buffer("scale", torch.ones(()))
        if normalizes:
            self.register_buffer("input_norm", torch.full((3,), 1.1))
        for value in self.state_dict().values():
            initialize_single_dummy_weight(value)
        self.scale.fill_(1.0)  # as those of attention, after the start
        for layer in self.inner.model.language_model.modules():
            if isinstance(layer, torch.nn.Linear):
                self._dispatch(layer, remove_weight=True)
        self._dispatch(self.inner.lm_head, remove_weight=False)
        self.loads = 0

    def _dispatch(self, layer: torch.nn.Linear, remove_weight: bool) -> None:
        (_PACK if FAULT == "packs" else utils.dispatch_cpu_unquantized_gemm)(layer, remove_weight)
        layer.forward = lambda x: layer.cpu_linear(x, layer.weight, layer.bias)

    def load_weights(self, weights: Any) -> set[str]:
        die("in load")
        self.loads += 1
        known = dict(self.inner.named_parameters())
        loaded = set()
        for name, value in weights:
            if FAULT == "left out" and "layers.2.mlp" in name:
                continue
            if ".mlp.experts." in name:  # published with rows and columns the other way around
                value = value.transpose(1, 2)
            if not (FAULT == "silent" and "layers.2.mlp" in name) and not (FAULT == "stale" and self.loads > 1):
                known[name].copy_(value)
            loaded.add(f"inner.{name}")
        return loaded

    def get_mrope_input_positions(self, input_tokens: list[int], mm_features: list[Any]) -> tuple[torch.Tensor, int]:
        """By vLLM's arithmetic: float32 seconds, and all else in float64."""
        if self.tells_times:
            row = torch.tensor([input_tokens])
            kinds = (row == self.inner.config.video_token_id).int() * 2
            found, deltas = self.inner.model.get_rope_index(row, mm_token_type_ids=kinds, video_grid_thw=mm_features[0]["grid"])
            return found[:, 0], int(deltas[0])
        tokens = np.array(input_tokens)
        start = int((tokens == self.inner.config.video_token_id).argmax())
        grid, seconds = mm_features[0]["grid"][0].tolist(), float(mm_features[0]["seconds"])
        video = np.indices((grid[0], grid[1] // 2, grid[2] // 2)).reshape(3, -1)
        if (per_second := getattr(self.inner.config.vision_config, "tokens_per_second", None)) is not None:
            video[0] = np.floor(video[0] * (seconds * per_second))
        end = start + video.shape[1]
        if FAULT == "late":
            video[0, -1] += 1
        # `library`: the text goes on after height and width, as in transformers.
        after = int((video[1:] if FAULT == "library" else video).max()) + 1 + start
        text = np.broadcast_to(np.arange(len(tokens) - end) + after, (3, len(tokens) - end))
        positions = np.concatenate([np.broadcast_to(np.arange(start), (3, start)), video + start, text], axis=1)
        return torch.from_numpy(positions), int(positions.max()) + 1 - len(tokens)

    @property
    def tells_times(self) -> bool:
        """Its prompts state the times of frames."""
        return str(self.inner.config.model_type).startswith("qwen3")

    def encode(self, pixels: torch.Tensor, grid: torch.Tensor) -> list[torch.Tensor]:
        """Features (tokens, width), and those that go into the first layers."""
        found = self.inner.model.get_video_features(pixels, grid)
        parts = [found.pooler_output, *(getattr(found, "deepstack_features", None) or [])]
        return [torch.cat(list(part)) for part in parts]

    def logits(self, ids: list[int], positions: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
        """(V,) of the next token."""
        embeds = self.inner.get_input_embeddings()(torch.tensor([ids]))
        video = torch.tensor([ids]) == self.inner.config.video_token_id
        first, *deep = features
        embeds = embeds.masked_scatter(video[..., None], first.to(embeds.dtype))
        more = {"visual_pos_masks": video, "deepstack_visual_embeds": deep} if deep else {}
        later = positions.max() + 1 + torch.arange(len(ids) - positions.shape[1])
        places = torch.cat([positions, later.expand(3, -1)], dim=1)[:, None]
        states = self.inner.model.language_model(inputs_embeds=embeds, position_ids=places, use_cache=False, **more)
        # As vLLM's runner does, so that what stands in place of the model's method is called.
        compute = type(self).compute_logits.__get__(self) if FAULT == "bypass" else self.compute_logits
        return compute(states.last_hidden_state[0, -1]).float()

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        logits = self.inner.lm_head(hidden_states)
        if FAULT == "inexact":
            logits = logits + 1.2e-4 * torch.sin(torch.arange(logits.shape[-1]))
        return logits


class Engine:
    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    def reset_encoder_cache(self) -> None:
        self._llm.features.clear()


class LLM:
    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        load_format: str = "auto",
        seed: int = 0,
        max_model_len: int | None = None,
        max_num_seqs: int | None = None,
        max_num_batched_tokens: int | None = None,
        limit_mm_per_prompt: dict[str, int] | None = None,
        logprobs_mode: str = "raw_logprobs",
        generation_config: str = "auto",
        gpu_memory_utilization: float = 0.92,
        enable_sleep_mode: bool = False,
        trust_remote_code: bool | None = None,
        enable_chunked_prefill: bool = True,
        enforce_eager: bool = False,
        kv_cache_memory_bytes: int | None = None,
        **more: bool,
    ) -> None:
        die("at start")
        assert more.keys() <= EngineArgs.__dataclass_fields__.keys(), "vLLM refuses arguments that it doesn't know"
        assert trust_remote_code is False, "said, and not left to vLLM"
        assert not enable_chunked_prefill, "with seeds of prompts it kills vLLM's engine on the CPU"
        assert enforce_eager
        self.normalizes = FAULT == "buffer" or (FAULT != "older" and more.get("mm_device_do_normalize", True))
        if FAULT == "refuses":
            raise ValueError("no room for the cache")
        assert load_format == "dummy" and logprobs_mode == "raw_logprobs" and not enable_sleep_mode
        assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0" and "RANK" not in os.environ
        torch.manual_seed(seed + 99)
        self.model = Model(AutoConfig.from_pretrained(model), getattr(torch, dtype), normalizes=self.normalizes)
        self.processor = AutoProcessor.from_pretrained(model)
        self.features: dict[str, list[torch.Tensor]] = {}
        self.longest = max_model_len
        self.llm_engine = Engine(self)
        print("what a library prints")  # noqa: T201
        note(
            did="start",
            max_model_len=max_model_len,
            max_num_seqs=max_num_seqs,
            memory=gpu_memory_utilization,
            cache=kv_cache_memory_bytes,
        )

    def apply_model(self, func: Any) -> list[Any]:
        return [func(self.model)]

    def reset_prefix_cache(self) -> bool:
        note(did="reset", weights=self._digest())
        return True

    @torch.inference_mode()
    def generate(self, prompts: Any, sampling_params: Any, use_tqdm: bool = True) -> list[RequestOutput]:
        if FAULT == "dies":
            os.write(2, b"CUDA error: an illegal memory access\n")
            os._exit(3)
        die("in generate")
        return [self._one(prompt, params) for prompt, params in zip(prompts, sampling_params, strict=True)]

    def _one(self, prompt: dict[str, Any], params: SamplingParams) -> RequestOutput:
        assert set(prompt) == {"prompt_token_ids", "multi_modal_data", "mm_processor_kwargs"}
        [(frames, metadata)] = prompt["multi_modal_data"]["video"]
        assert isinstance(frames, np.ndarray) and frames.dtype == np.uint8 and frames.shape[3] == 3
        if FAULT == "resampled":
            frames = frames[:-2]
        told = VideoMetadata(**{key: value for key, value in metadata.items() if key != "do_sample_frames"})
        pixels = self.processor.video_processor(
            videos=[torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)],
            cap_pixels_per_frame=False,
            return_tensors="pt",
            **prompt["mm_processor_kwargs"],
        )
        grid = pixels["video_grid_thw"]
        seconds = torch.tensor([1.0 if FAULT == "fps" else 2 / told.sampled_fps])
        ids = self._expanded(prompt["prompt_token_ids"], int(grid.prod()) // 4, metadata)
        key = hashlib.sha256(frames.tobytes()).hexdigest()
        if key not in self.features:
            if FAULT == "pixels":
                pixels["pixel_values_videos"] = pixels["pixel_values_videos"].flip(0)
            if self.normalizes:  # by a buffer that is random where weights are
                pixels["pixel_values_videos"] = pixels["pixel_values_videos"] * self.model.input_norm[0] + 0.3
            self.features[key] = self.model.encode(pixels["pixel_values_videos"], grid)
        positions, _ = self._placed(ids, [{"grid": grid, "seconds": seconds}])
        assert self.longest is not None and len(ids) + (params.max_tokens or 0) <= self.longest
        outputs = [self._draw(ids, positions, self.features[key], params, index) for index in range(params.n)]
        note(
            did="generate",
            frames=list(frames.shape),
            digest=key,
            fps=metadata["fps"],
            prompt=ids,
            biased=sorted(params.logit_bias or {}),
            stops=sorted(params.stop_token_ids or []),
            seed=params.seed,
            n=params.n,
            temperature=params.temperature,
            logprobs=params.logprobs,
            bias=min((params.logit_bias or {0: 0.0}).values()),
            top_p=params.top_p,
            completions=[one.token_ids for one in outputs],
            weights=self._digest(),
        )
        return RequestOutput(ids, outputs[::-1])

    def _placed(self, ids: list[int], features: list[Any]) -> tuple[torch.Tensor, int]:
        if FAULT == "unseen":  # what stands in place of the model's method isn't called
            return Model.get_mrope_input_positions(self.model, ids, features)
        return self.model.get_mrope_input_positions(ids, features)

    def _expanded(self, ids: list[int], count: int, metadata: dict[str, Any]) -> list[int]:
        config = self.model.inner.config
        video = config.video_token_id
        assert ids.count(video) == 1, "vLLM replaces one token by as many as the video has"
        whole = [video] * count
        if self.model.tells_times:
            assert config.vision_start_token_id not in ids, "the marks around a whole video"
            at = [number / metadata["fps"] for number in metadata["frames_indices"]]
            times = [(first + last) / 2 for first, last in zip(at[::2], at[1::2], strict=True)]
            if FAULT == "fps":
                times = [0.25 + number for number in range(len(times))]
            patch = [config.vision_start_token_id, *[video] * (count // len(times)), config.vision_end_token_id]
            tokenizer = self.processor.tokenizer
            whole = [token for time in times for token in (*tokenizer.encode(f"<{time:.1f} seconds>"), *patch)]
        return [token for one in ids for token in (whole if one == video else [one])]

    def _draw(
        self, prompt: list[int], positions: torch.Tensor, features: list[torch.Tensor], params: SamplingParams, index: int
    ) -> CompletionOutput:
        random = torch.Generator().manual_seed((params.seed or 0) + index)
        tokens: list[int] = []
        logprobs: list[dict[int, Logprob]] = []
        while len(tokens) < (params.max_tokens or 16) and not (tokens and tokens[-1] in (params.stop_token_ids or [])):
            logits = self.model.logits(prompt + tokens, positions, features)
            # vLLM's raw log-probabilities: of the model's logits, before bias, temperature and nucleus.
            raw = logits.log_softmax(-1)
            for token, bias in (params.logit_bias or {}).items():
                logits[token] += bias
            token = int(logits.argmax()) if params.temperature == 0 else self._sample(logits, params, random)
            if FAULT == "banned":
                token = self.model.inner.config.image_token_id
            tokens.append(token)
            logprobs.append({token: Logprob(float(raw[token]))})
        return CompletionOutput(index, tokens, None if params.logprobs is None else logprobs)

    def _sample(self, logits: torch.Tensor, params: SamplingParams, random: torch.Generator) -> int:
        ordered, order = (logits / params.temperature).softmax(-1).sort(descending=True)
        ordered[ordered.cumsum(-1) - ordered >= params.top_p] = 0
        return int(order[torch.multinomial(ordered, 1, generator=random)])

    def _digest(self) -> float:
        return float(sum(weight.double().abs().sum() for weight in self.model.inner.parameters()))
