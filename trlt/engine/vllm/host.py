"""The process that runs vLLM: takes weights, answers prompts about frames, releases its memory in between.

It runs in the Python of whatever environment holds vLLM, whose pins of torch and transformers needn't be trlt's. So it imports
the standard library alone, and of that environment vLLM and what vLLM itself needs: nothing of trlt. Ends when its input ends.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import struct
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HEAD = struct.Struct("<QQ")
"""Before each message: bytes of its JSON, and bytes of data that follow."""
NEVER = -100.0
"""Bias of the logit of a token that mustn't be drawn."""
AS_THEY_ARE = {"do_resize": False, "do_sample_frames": False}
"""Frames come from trlt's loader: vLLM's processor only cuts them into patches."""
BY_THE_PROCESSOR = {"mm_device_do_normalize": False}
"""vLLM 0.31 and 0.32 would normalize pixels by buffers of the model that no checkpoint holds, and that start at random."""
ON_THE_CPU = {"enable_chunked_prefill": False, "enforce_eager": True}
"""There, a prompt in pieces with a seed of its own kills vLLM 0.32, and compiling takes longer than a miniature's run."""


def send(handle: int, message: Mapping[str, Any], *parts: bytes | memoryview) -> None:
    """Writes a message and its data to a file descriptor."""
    text = json.dumps(message).encode()
    for part in (HEAD.pack(len(text), sum(len(part) for part in parts)), text, *parts):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(handle, rest) :]


def receive(handle: int) -> tuple[dict[str, Any], bytearray]:
    """Reads a message and its data from a file descriptor.

    Raises:
        EOFError: the other side is gone.
    """
    text, size = HEAD.unpack(_read(handle, HEAD.size))
    message: dict[str, Any] = json.loads(_read(handle, text))
    return message, _read(handle, size)


def _read(handle: int, size: int) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = os.readv(handle, [rest])
        if not count:
            raise EOFError
        rest = rest[count:]
    return data


class Host:
    """vLLM with one model.

    Args:
        settings: `llm`, arguments of `vllm.LLM`; `cache`, bytes that its cache can make use of; `sleep`, whether memory is
            given back between rollouts; `banned` and `ends`, token ids that are never drawn, and that end a completion;
            `transformers`, the oldest release that takes prompts as they come, or None.

    Raises:
        ValueError: this environment's transformers is older, or vLLM can't run the model.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._vllm = importlib.import_module("vllm")
        _check_transformers(settings["transformers"])
        self._sleeps = bool(settings["sleep"])
        self._ends = list(settings["ends"])
        self._banned = [int(token) for token in settings["banned"]]
        on_cpu = importlib.import_module("vllm.platforms").current_platform.is_cpu()
        if on_cpu:
            _leave_unpacked()
        here = ON_THE_CPU | _memory(settings) if on_cpu else {}
        known = _known(self._vllm, BY_THE_PROCESSOR)
        self._llm: Any = self._vllm.LLM(**settings["llm"], trust_remote_code=False, **known, **here)
        if on_cpu:
            [packed] = self._llm.apply_model(_packed)
            if packed:
                raise ValueError(f"this version packs weights away, so that no others can be loaded: {_some(packed)}")
        self.sleep()

    def sleep(self) -> None:
        """Gives up weights and cache: the next `load` brings other weights anyway."""
        if self._sleeps:
            self._llm.sleep(level=2)

    def load(self, folder: Path) -> None:
        """Takes the weights of all safetensors files in a folder, and forgets what was computed with others.

        Raises:
            ValueError: some weights of vLLM's model are in none of them, or some of its buffers.
        """
        if self._sleeps:
            self._llm.wake_up(tags=["weights"])
        # It started with random weights, and one that wasn't sent would stay so.
        [(weights, buffers)] = self._llm.apply_model(lambda model: _load(model, sorted(folder.glob("*.safetensors"))))
        if weights:
            raise ValueError(f"weights of vLLM's model weren't sent: {_some(weights)}")
        # Loading has put experts as files hold them where the kernel expects packed ones.
        self._llm.apply_model(_pack_experts)
        if buffers:
            raise ValueError(f"this version has buffers that started at random and that no weights right: {_some(buffers)}")
        # Features of a clip are kept under the hash of its frames alone: a tower that has learned would be answered by the old.
        self._llm.llm_engine.reset_encoder_cache()
        self._llm.reset_prefix_cache()
        if self._sleeps:
            # Last: memory for the cache isn't taken while weights are loaded.
            self._llm.wake_up(tags=["kv_cache"])

    def generate(self, asked: Mapping[str, Any], data: bytearray) -> dict[str, Any]:
        """Completions of prompts.

        Args:
            asked: `clips` (shape T, H, W, C of each, and of the file that its frames would be from the frames a second, their
                numbers in it and its seconds), `prompts` (clip, token ids with one video token, n,
                seed), `sampling` (temperature, top_p, max_tokens), `logps`: whether to tell tokens' log-probabilities, at the
                temperature (at 1 where it is 0) over the whole vocabulary; and `explain`: whether to tell the prompts as vLLM
                expanded them, and their positions.
            data: The clips' frames one after another, uint8.
        """
        clips = _clips(asked["clips"], data)
        explain, tell = bool(asked["explain"]), bool(asked["logps"])
        params = [self._sampling(prompt, asked["sampling"], tell) for prompt in asked["prompts"]]
        prompts = [
            {
                "prompt_token_ids": prompt["ids"],
                "multi_modal_data": {"video": [clips[prompt["clip"]]]},
                "mm_processor_kwargs": dict(AS_THEY_ARE),
            }
            for prompt in asked["prompts"]
        ]
        with self._scaled(asked["sampling"]["temperature"]), self._watched(explain) as positions:
            outputs = self._llm.generate(prompts, params, use_tqdm=False)
        return {"answers": [_answer(output, explain, tell) for output in outputs], "positions": positions}

    def _sampling(self, prompt: Mapping[str, Any], sampling: Mapping[str, Any], tell: bool) -> Any:
        greedy = sampling["temperature"] == 0
        # What is added to logits that are divided already has to be divided too.
        bias = NEVER if greedy else NEVER / sampling["temperature"]
        return self._vllm.SamplingParams(
            n=prompt["n"],
            seed=prompt["seed"],
            temperature=0.0 if greedy else 1.0,
            top_p=sampling["top_p"],
            max_tokens=sampling["max_tokens"],
            stop_token_ids=self._ends,
            # vLLM takes up to 1,024 of them; the 7B needs 404.
            logit_bias={token: bias for token in self._banned},
            logprobs=0 if tell else None,
            # Named, as the model's generation_config.json asks for 1.05.
            repetition_penalty=1.0,
            detokenize=False,
        )

    @contextmanager
    def _scaled(self, temperature: float) -> Iterator[None]:
        """Has the model divide its logits by the temperature, and not vLLM's sampler.

        The sampler's raw log-probabilities are those of what the model gives: so they are at the temperature, and over the
        whole vocabulary, as a trainer's are. Its processed ones would be of the nucleus alone.
        """
        if temperature in (0, 1):
            yield
            return

        def begin(model: Any) -> None:
            known = model.compute_logits

            def scaled(*args: Any, **kwargs: Any) -> Any:
                logits = known(*args, **kwargs)
                return None if logits is None else logits.float() / temperature

            # On the instance, so that `del` brings the method of the class back.
            model.compute_logits = scaled

        def end(model: Any) -> None:
            del model.compute_logits

        self._llm.apply_model(begin)
        try:
            yield
        finally:
            self._llm.apply_model(end)

    @contextmanager
    def _watched(self, explain: bool) -> Iterator[list[Any]]:
        """Notes the positions (3, T) of each prompt that vLLM begins, in that order."""
        seen: list[Any] = []
        if not explain:
            yield seen
            return

        def begin(model: Any) -> None:
            known = model.get_mrope_input_positions

            def noting(*args: Any, **kwargs: Any) -> Any:
                found = known(*args, **kwargs)
                seen.append(found[0].tolist())
                return found

            model.get_mrope_input_positions = noting

        def end(model: Any) -> None:
            del model.get_mrope_input_positions

        self._llm.apply_model(begin)
        try:
            yield seen
        finally:
            self._llm.apply_model(end)


def _check_transformers(least: str | None) -> None:
    version: Any = importlib.import_module("packaging.version").Version
    found = importlib.import_module("transformers").__version__
    if least is not None and version(found) < version(least):
        raise ValueError(
            f"beside transformers {found} vLLM takes a video for three tokens, and it comes as one; update it in vLLM's "
            f"environment: {sys.executable} -m pip install -U 'transformers>={least}'"
        )


def _known(vllm: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some settings that this version of vLLM has."""
    return {key: value for key, value in settings.items() if key in vllm.EngineArgs.__dataclass_fields__}


def _memory(settings: Mapping[str, Any]) -> dict[str, int]:
    """A cache no larger than it can be made use of: vLLM would fill its share of the machine's memory, which others need."""
    share = settings["llm"]["gpu_memory_utilization"] * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"kv_cache_memory_bytes": settings["cache"]} if settings["cache"] < share else {}


def _leave_unpacked() -> None:
    """Has vLLM's CPU backend multiply by weights as they are.

    It would pack those of linear layers away and remove them, so that a second `load_weights` fails; and those of the head
    twice, so that a second one has no effect. No setting of vLLM 0.26 to 0.32 leaves both alone.
    """
    linear = importlib.import_module("torch").nn.functional.linear

    def unpacked(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = linear

    utils: Any = importlib.import_module("vllm.model_executor.layers.utils")
    utils.dispatch_cpu_unquantized_gemm = unpacked


def _pack_experts(model: Any) -> None:
    """Has vLLM's CPU backend pack the experts of mixtures for its kernel again, in place; its start did so with random ones."""
    if not importlib.import_module("vllm.platforms").current_platform.is_cpu():
        return
    for layer in model.modules():
        kernel = getattr(getattr(layer, "quant_method", None), "moe_kernel", None)
        if kernel is not None:
            kernel.fused_experts.process_weights_after_loading(layer)


def _packed(model: Any) -> list[str]:
    """Layers of vLLM's CPU backend that compute with something else than their weights."""
    linear = importlib.import_module("torch").nn.functional.linear
    return [name for name, layer in model.named_modules() if getattr(layer, "cpu_linear", linear) is not linear]


def _some(names: Sequence[str]) -> str:
    """A few of the names, and how many there are."""
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"


def _load(model: Any, files: Iterable[Path]) -> tuple[list[str], list[str]]:
    """Loads files into vLLM's model, which knows the published names; weights that none of them had, and random buffers."""
    open_file = importlib.import_module("safetensors").safe_open
    loaded: set[str] = set()
    for file in files:
        with open_file(file, framework="pt") as stored:
            loaded |= set(model.load_weights((name, stored.get_tensor(name)) for name in stored.keys()) or ())  # noqa: SIM118
    return sorted({name for name, _ in model.named_parameters()} - loaded), _random(model)


def _random(model: Any) -> list[str]:
    """Buffers that still are what a start without weights has put there.

    That fills all of a model's `state_dict()` from one seed. Most buffers have their right values again by now, although no
    weights hold them (the scales of attention), and so names don't tell.
    """
    torch = importlib.import_module("torch")
    fill = importlib.import_module("vllm.model_executor.model_loader.weight_utils").initialize_single_dummy_weight
    found = []
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point() and buffer.numel():
            at_start = torch.empty_like(buffer)
            fill(at_start)
            if torch.equal(at_start, buffer):
                found.append(name)
    return found


def _clips(shapes: Sequence[Mapping[str, Any]], data: bytearray) -> list[tuple[Any, dict[str, Any]]]:
    """Each clip's frames (T, H, W, C) with what vLLM is told of their times: all are taken, at the rate they have."""
    np = importlib.import_module("numpy")
    clips, start = [], 0
    for told in shapes:
        size = int(np.prod(told["shape"]))
        frames = np.frombuffer(data, np.uint8, size, start).reshape(told["shape"])
        start += size
        # vLLM before 0.31 drops the rate and takes 2 frames a second; the
        # check compares a slower clip, and refuses those versions.
        times = {"fps": told["fps"], "duration": told["duration"], "frames_indices": list(told["indices"])}
        times["total_num_frames"] = told["shape"][0]
        clips.append((frames, {**times, "video_backend": "trlt", "do_sample_frames": False}))
    return clips


def _answer(output: Any, explain: bool, tell: bool) -> dict[str, Any]:
    """Token ids of a prompt's completions in their order, with their log-probabilities; and what the check compares."""
    drawn = sorted(output.outputs, key=lambda one: one.index)
    answer: dict[str, Any] = {"completions": [list(one.token_ids) for one in drawn]}
    if explain:
        answer["prompt"] = list(output.prompt_token_ids)
    if tell:
        answer["logps"] = [
            [found[token].logprob for token, found in zip(one.token_ids, one.logprobs, strict=True)] for one in drawn
        ]
    return answer


def _listen(requests: queue.SimpleQueue[tuple[dict[str, Any], bytearray]]) -> None:
    """Passes requests on; when the input ends the trainer is gone, and so is this process, even in the middle of an answer."""
    try:
        while True:
            requests.put(receive(0))
    except EOFError:
        os._exit(0)


def main() -> None:
    """Serves requests until the input ends; what fails is told, and ends the process."""
    # Whatever a library prints must not land among the answers.
    answers = os.dup(1)
    os.dup2(2, 1)
    # This script's folder isn't a place to import from.
    del sys.path[0]
    requests: queue.SimpleQueue[tuple[dict[str, Any], bytearray]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    try:
        host = Host(json.loads(sys.argv[1]))
        send(answers, {"ready": True})
        while True:
            message, data = requests.get()
            if message["do"] == "load":
                host.load(Path(message["folder"]))
                send(answers, {})
            elif message["do"] == "sleep":
                host.sleep()
                send(answers, {})
            else:
                send(answers, host.generate(message, data))
    except Exception as error:  # the boundary of a process: told to the other side, in full on this one's
        traceback.print_exc()
        missing = isinstance(error, ModuleNotFoundError) and error.name == "vllm"
        send(answers, {"error": f"{type(error).__name__}: {error}", "missing": missing})
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
