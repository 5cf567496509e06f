"""An OpenAI-compatible server of a video model, small and strict, run as a program: `fake_server.py --kind vllm`.

It takes requests in the form of its kind and refuses any other, decodes the frames as that kind does, and answers as a
function of prompt, frames, rate, seed and index. With `--model` a real model answers, its inputs made by transformers'
processor from the frames and the metadata, as vLLM makes them. `POST /control` injects faults; `GET /log` tells what came.
It prints its port.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import io
import json
import math
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

COMMON = {
    *("model", "messages", "n", "seed", "max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty"),
    *("presence_penalty", "frequency_penalty", "skip_special_tokens", "stream"),
}
FIELDS = {
    "vllm": COMMON | {"media_io_kwargs", "mm_processor_kwargs", "bad_words", "return_token_ids"},
    "sglang": COMMON | {"return_token_ids", "cache_salt"},
}
OPTIONAL = {"logprobs", "top_logprobs", "logit_bias", "chat_template_kwargs"}
NEUTRAL = {"top_k": -1, "min_p": 0, "repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0, "stream": False}


SGLANG_VIDEO = {"fps": 1000, "max_frames": 100000, "min_pixels": 784, "do_resize": False}
"""Of SGLang's `--mm-process-config`, unless given: it reads all frames as they are."""


class Bad(Exception):
    """A request that isn't as it should be."""


class State:
    def __init__(self, kind: str, name: str, model: str | None, root: str | None, video: dict[str, Any]) -> None:
        self.kind, self.name, self.video = kind, name, video
        self.lock = threading.Lock()
        self.queue: list[Any] = []
        self.traits: set[str] = set()
        self.log: list[dict[str, Any]] = []
        self.active = self.most = 0
        self.cached: dict[tuple[str, str], float] = {}
        self.loaded = load(model) if model else None
        self.root = root or name
        self.texts = texts(self.loaded) if self.loaded else ["a"] * 500 + [""] * 12
        """Of each id of the vocabulary."""

    def fault(self) -> Any:
        with self.lock:
            if not self.queue:
                return None
            return self.queue[0] if self.queue[0] in self.traits else self.queue.pop(0)


def load(path: str) -> Any:
    from trlt.engine.model import load as load_model
    from trlt.recipe import Model

    return load_model(Model(path=path, dtype="float32", device="cpu"))


def texts(loaded: Any) -> list[str]:
    known = loaded.processor.tokenizer
    return [known.decode([id]) if id < len(known) else "" for id in range(loaded.model.config.text_config.vocab_size)]


def frames_of(state: State, body: dict[str, Any]) -> tuple[np.ndarray, float]:
    """(T, H, W, 3) and the rate, as a server of this kind sees them."""
    parts = body["messages"][-1]["content"]
    if [part["type"] for part in parts] != ["video_url", "text"]:
        raise Bad("the user's turn must be a video and a text")
    source = parts[0]["video_url"]
    media, _, data = source["url"].partition(";base64,")
    if set(source) != {"url"}:
        raise Bad(f"video_url: {sorted(source)}")
    if state.kind == "sglang":
        if media != "data:video/mp4":
            raise Bad(f"sglang takes an mp4 file, got {media}")
        return _mp4(base64.b64decode(data, validate=True), state.video)
    if media != "data:video/jpeg":
        raise Bad(f"vllm takes frames, got {media}")
    return _pictures(data.split(","), body, any_times=state.loaded is not None)


def _pictures(parts: list[str], body: dict[str, Any], *, any_times: bool) -> tuple[np.ndarray, float]:
    from PIL import Image

    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(part, validate=True)))) for part in parts]
    io_settings, settings = body["media_io_kwargs"]["video"], body["mm_processor_kwargs"]
    if settings != {"fps": io_settings["fps"], "do_sample_frames": False, "do_resize": False}:
        raise Bad(f"mm_processor_kwargs: {settings}")
    numbers = io_settings["frames_indices"]
    # What vLLM 0.32 refuses; in the order of a file at one rate they must be where no model here makes a prompt of them.
    if io_settings["num_frames"] != -1 or [type(one) for one in numbers] != [int] * len(parts):
        raise Bad(f"media_io_kwargs: {io_settings}")
    if numbers != list(range(len(parts))) and not any_times:
        raise Bad(f"media_io_kwargs: {io_settings}")
    fps, total = io_settings["fps"], io_settings["total_num_frames"]
    steady = any_times or abs(io_settings["duration"] * fps - total) <= 1e-9
    if total != len(parts) or io_settings["do_sample_frames"] or not steady:
        raise Bad(f"media_io_kwargs: {io_settings}")
    return np.stack(pictures), len(parts) / total * fps


def _mp4(data: bytes, settings: dict[str, Any]) -> tuple[np.ndarray, float]:
    """As SGLang 0.5.23 reads a file for a Qwen2.5-VL: settings come from its command line, none from the request."""
    import av

    with av.open(io.BytesIO(data)) as container:
        fps = float(container.streams.video[0].average_rate)
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    total = len(frames)
    count = min(max(total / fps * settings.get("fps", 2.0), 4), settings.get("max_frames", min(768, total)) // 2 * 2, total)
    frames = frames[np.unique(np.linspace(0, total - 1, int(count // 2 * 2), dtype=np.int64))]
    frames = _sized(frames, settings.get("min_pixels", 128 * 784), settings.get("max_pixels", 768 * 784))
    # transformers' processor has the last word, with the sizes that a model's folder has unless they are published ones.
    return (_sized(frames, 128 * 784, 768 * 784) if settings.get("do_resize", True) else frames), fps


def _sized(frames: np.ndarray, least: int, most: int) -> np.ndarray:
    """Within a number of pixels each, sides in multiples of 28; by the nearest pixel."""
    _, height, width, _ = frames.shape
    rows, columns = (max(1, round(side / 28)) for side in (height, width))
    if not least <= rows * columns * 784 <= most:
        toward, bound = (math.ceil, least) if rows * columns * 784 < least else (math.floor, most)
        rows, columns = (toward(side * math.sqrt(bound / height / width) / 28) for side in (height, width))
    pick = [np.arange(28 * new) * old // (28 * new) for new, old in ((rows, height), (columns, width))]
    return frames[:, pick[0]][:, :, pick[1]]


def check(state: State, body: dict[str, Any]) -> None:
    if set(body) - OPTIONAL != FIELDS[state.kind]:
        raise Bad(f"fields: {sorted((set(body) - OPTIONAL) ^ FIELDS[state.kind])}")
    if "untrusting" in state.traits and "mm_processor_kwargs" in body:
        # Word for word what 0.32 says, and does unless it is started with that flag.
        raise Bad(
            "Per-request mm_processor_kwargs are disabled by default because they can change multimodal preprocessing resource "
            "usage. Start the server with --trust-request-mm-kwargs only when clients are trusted."
        )
    if body.get("top_logprobs", 0) > (0 if "few" in state.traits else 20):
        raise Bad("Requested sample logprobs of 20, which is greater than max allowed: 0")
    size = len(state.texts)
    if outside := [token for token in body.get("logit_bias", {}) if not 0 <= int(token) < size]:
        raise Bad(f"token_id(s) {outside} in logit_bias contain out-of-vocab token ids. Vocabulary size: {size}")
    # SGLang answers to any name.
    if body["model"] != state.name and state.kind != "sglang":
        raise KeyError(f"The model `{body['model']}` does not exist.")
    if any(body[name] != value for name, value in NEUTRAL.items()) or body["skip_special_tokens"] is not False:
        raise Bad("a setting that shapes the draw isn't neutral")
    if [m["role"] for m in body["messages"]] not in (["user"], ["system", "user"]):
        raise Bad("the roles must be system and user")
    for name, kind in (("n", int), ("seed", int), ("max_tokens", int), ("temperature", float), ("top_p", float)):
        if type(body[name]) is not kind:
            raise Bad(f"{name}: {body[name]!r}")
    if body["n"] > 1 and "one" in state.traits:
        raise Bad("n must be 1")


def answer(state: State, body: dict[str, Any]) -> dict[str, Any]:
    check(state, body)
    frames, fps = frames_of(state, body)
    digest = hashlib.sha256(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)).tobytes()).hexdigest()
    if state.kind == "sglang":
        # Computed prompts are found again by their pixels and that mark, whatever the rate.
        fps = state.cached.setdefault((digest, body["cache_salt"]), fps)
    asked = {"text": body["messages"][-1]["content"][1]["text"], "frames": digest, "shape": list(frames.shape), "fps": fps}
    with state.lock:
        state.log.append(
            {**asked, "n": body["n"], "seed": body["seed"], "biased": sorted(map(int, body.get("logit_bias", {})))}
        )
    if "rateless" in state.traits:  # as vLLM before 0.31, and SGLang without trlt's processor
        fps = 2.0 if state.kind == "vllm" else 24.0
    if state.loaded:
        return answer_of_model(state, body, frames, fps)
    t, h, w, _ = frames.shape
    seen = {"blind": 0, "cut": min(t, 32), "large": 4 * t}
    t = next((seen[trait] for trait in seen if trait in state.traits), t)
    video = t // 2 * (h // 28) * (w // 28)
    choices = []
    for index in range(body["n"]):
        # SGLang draws the completions of one request from one seed, if it heeds seeds at all.
        seed = body["seed"] + (index if state.kind == "vllm" else 0)
        key = f"{body['messages']}"[-200:] + f"{digest}{fps:.6f}{seed}"
        number = hashlib.sha256(key.encode()).digest()[0]
        words = f"<answer> {'ABC'[number % 3]} </answer>"
        if "marked" in state.traits:
            words += "<|im_end|>"
        message: dict[str, Any] = {"role": "assistant", "content": words}
        if "reasons" in state.traits:
            message["reasoning_content"] = "because"
        choice = {"index": index, "message": message, "finish_reason": "length" if number & 4 else "stop"}
        if body.get("return_token_ids") and "countless" not in state.traits:
            choice["token_ids" if state.kind == "vllm" else "response_token_ids"] = [*range(number % 7 + 1)]
        if body.get("logprobs") and "figureless" not in state.traits:
            choice["logprobs"] = said([(f"t{i}", -i - (fps + i) % 1.7) for i in range(body["top_logprobs"])])
        choices.append(choice)
    words = sum(len(part["text"].split()) for m in body["messages"] for part in m["content"] if part["type"] == "text")
    # Where no system text is given, a turn is left out: the miniature's template; Qwen's puts in a text of its own.
    template = 20 if len(body["messages"]) > 1 else 12
    usage = {"prompt_tokens": video + template + words, "completion_tokens": 5 * body["n"]}
    return {"object": "chat.completion", "choices": choices[::-1], "usage": usage}


def said(likeliest: list[tuple[str, float]]) -> dict[str, Any]:
    """Log-probabilities of the first token, in OpenAI's shape."""
    tops = [{"token": token, "logprob": value, "bytes": None} for token, value in likeliest]
    return {"content": [{**tops[0], "top_logprobs": tops}]}


def answer_of_model(state: State, body: dict[str, Any], frames: np.ndarray, fps: float) -> dict[str, Any]:
    """Greedy, with the vision marks banned; the inputs are transformers' own, not trlt's."""
    import torch

    processor, model = state.loaded.processor, state.loaded.model
    turns = [{"role": m["role"], "content": m["content"]} for m in body["messages"]]
    turns[-1]["content"] = [{"type": "video"}, turns[-1]["content"][1]]
    more = body.get("chat_template_kwargs", {})
    text = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False, **more)
    if "outer" in state.traits:  # as published templates have it
        text = text.replace("<|video_pad|>", "<|vision_start|><|video_pad|><|vision_end|>")
    told = body["media_io_kwargs"]["video"]
    metadata = {"fps": fps, "total_num_frames": len(frames), "frames_indices": told["frames_indices"]}
    if "timeless" in state.traits:
        metadata |= {"fps": 2.0, "frames_indices": list(range(len(frames)))}
    video = torch.from_numpy(frames.transpose(0, 3, 1, 2).copy())
    settings = {**body["mm_processor_kwargs"], "cap_pixels_per_frame": False}
    inputs = processor(text=[text], videos=[video], video_metadata=[metadata], return_tensors="pt", **settings)
    banned = processor.tokenizer.convert_tokens_to_ids(body["bad_words"])
    banned += range(len(processor.tokenizer), model.config.text_config.vocab_size)  # ids that no text has
    count = inputs["input_ids"].shape[1]
    with torch.inference_mode():
        found = model.generate(
            **inputs,
            max_new_tokens=body["max_tokens"],
            do_sample=False,
            suppress_tokens=banned,
            output_logits=True,
            return_dict_in_generate=True,
        )
    ids = found.sequences[0, count:]
    ended = int(ids[-1]) in processor.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    words = processor.tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=False)
    choice = {"message": {"content": words}, "finish_reason": "stop" if ended else "length", "token_ids": ids.tolist()}
    if body.get("logprobs"):
        best = found.logits[0][0].log_softmax(-1).topk(body["top_logprobs"])
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        choice["logprobs"] = said([(state.texts[id], value) for id, value in pairs])
    choices = [{"index": index, **choice} for index in range(body["n"])]
    usage = {"prompt_tokens": count, "completion_tokens": len(ids) * body["n"]}
    prompt = {} if "untelling" in state.traits else {"prompt_token_ids": inputs["input_ids"][0].tolist()}
    return {"choices": choices, "usage": usage, **prompt}


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
RAW = {
    "endless": (OK + b"\r\n", b"x" * 1_000_000, 0.0),
    "endless chunks": (CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n", 0.0),
    "endless nesting": (OK + b"\r\n", b"[" * 1_000_000, 0.0),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    "slow status": (b"HTTP/1.1 2", b"0", 0.05),
    "slow headers": (OK, b"X-A: b\r\n", 0.05),
    "slow chunks": (CHUNKED + b"1;", b"x", 0.05),
    "slow trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-A: b\r\n", 0.05),
    "slow body": (OK + b"Content-Length: 5000\r\n\r\n", b" ", 0.05),
}
"""Answers that never end: how they begin, what comes over and over, and the seconds between."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def state(self) -> State:
        return self.server.state  # type: ignore[attr-defined, no-any-return]

    def log_message(self, *_: Any) -> None:
        pass

    def send(self, status: int, content: Any, *, headers: dict[str, str] | None = None, promise: int | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "application/json"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(promise or len(data)))
        self.end_headers()
        self.wfile.write(data)
        if promise:
            self.close_connection = True

    def do_GET(self) -> None:
        state = self.state
        if self.path == "/health":
            self.send(503 if "ill" in state.traits else 200, b"")
        elif self.path == "/v1/models" and self.admitted():
            self.send(200, {"data": [{"id": state.name, "object": "model", "owned_by": state.kind, "root": state.root}]})
        elif self.path == "/log":
            self.send(200, {"log": state.log, "most": state.most})
        else:
            self.send(404, {"detail": "Not Found"})

    def admitted(self) -> bool:
        key = os.environ.get("FAKE_KEY")
        given = self.headers.get("Authorization", "")
        if key and given != f"Bearer {key}":
            self.send(401, {"error": {"message": f"Unauthorized: {given}"}})
            return False
        return True

    def do_POST(self) -> None:
        state = self.state
        if self.path == "/v1/chat/completions" and "small" in state.traits:
            self.send(413, b"<html><h1>Request Entity Too Large</h1></html>")  # before the body is read
            self.rfile.read(int(self.headers["Content-Length"]))
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/control":
            state.queue, state.traits = list(body.get("queue", [])), set(body.get("traits", []))
            self.send(200, {})
        elif self.path == "/detokenize" and state.kind == "vllm":
            said = "".join(state.texts[token] for token in body["tokens"] if token < len(state.texts))
            self.send(200, {"prompt": said})
        elif self.path != "/v1/chat/completions":
            self.send(404, {"detail": "Not Found"})
        elif self.admitted():
            with state.lock:
                state.active += 1
                state.most = max(state.most, state.active)
            try:
                self.chat(body)
            finally:
                with state.lock:
                    state.active -= 1

    def chat(self, body: dict[str, Any]) -> None:
        # Well, and unable to answer any question but those that it is tried with.
        poisoned = "poisoned" in self.state.traits and body["messages"][-1]["content"][-1]["text"] != "?"
        fault = "500" if poisoned else self.state.fault()
        if fault is not None and self.failed(fault):
            return
        if "slow" in self.state.traits:
            time.sleep(0.05)
        try:
            self.send(200, answer(self.state, body))
        except Bad as error:
            self.send(400, {"object": "error", "message": str(error), "type": "BadRequestError", "code": 400})
        except KeyError as error:
            self.send(404, {"error": {"message": str(error), "code": 404}})

    def failed(self, fault: str) -> bool:
        if fault == "500":
            self.send(500, {"error": {"message": "CUDA out of memory", "code": 500}})
        elif fault.startswith("429"):
            self.send(429, {"error": {"message": "queue is full"}}, headers={"Retry-After": fault.partition(" ")[2] or "0.2"})
        elif fault == "cut":
            self.send(200, b'{"choices": [{"ind', promise=5000)
        elif fault == "json":
            self.send(200, b'{"choices": [{"ind')
        elif fault.startswith("say "):
            self.send(200, fault.removeprefix("say ").encode())
        elif fault == "html":
            self.send(200, b"<html><body><h1>Gateway</h1></body></html>", headers={"Content-Type": "text/html"})
        elif fault == "shape":
            self.send(200, {"choices": []})
        elif fault == "abort":
            choice = {"index": 0, "message": {"content": ""}, "finish_reason": "abort"}
            self.send(200, {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 0}})
        elif fault == "hang":
            time.sleep(5)
            self.close_connection = True
        elif fault == "trickle":
            self.send(200, b" ", promise=5000)
            for _ in range(50):
                self.wfile.write(b" ")
                time.sleep(0.1)
        elif fault.startswith("raw "):
            self.close_connection = True
            first, rest, pause = RAW[fault.removeprefix("raw ")]
            with contextlib.suppress(OSError):
                self.connection.sendall(first)
                while True:
                    self.connection.sendall(rest)
                    time.sleep(pause)
        elif fault == "reset":
            self.close_connection = True
            self.connection.close()
        elif fault == "die":
            os._exit(1)
        else:
            return False
        return True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        pass  # a client that gave up is no error here


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=sorted(FIELDS), default="vllm")
    parser.add_argument("--name", default="tuned")
    parser.add_argument("--model")
    parser.add_argument("--root")
    parser.add_argument("--mm-process-config", type=json.loads, default={"video": SGLANG_VIDEO})
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    server = Server(("127.0.0.1", given.port), Handler)
    video = given.mm_process_config["video"]
    server.state = State(given.kind, given.name, given.model, given.root, video)  # type: ignore[attr-defined]
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
