"""A question about a clip in the forms in which servers of the model take it, and their answers.

Knows frames, the fields of requests and their answers; nothing of connections.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trlt.engine.families import THINKING
from trlt.engine.marks import END_TOKENS, VISION_TOKENS
from trlt.engine.servers import sglang
from trlt.errors import ServerError
from trlt.files.server_call import TransientFault

if TYPE_CHECKING:  # torch loads with the first run
    from trlt.engine.families import Family
    from trlt.engine.forest import Completion, PromptRequest
    from trlt.engine.sampling import Sampling
    from trlt.video.clip import Clip

Form = Literal["vllm", "sglang"]
"""Form of the requests. A server of neither name is asked as vLLM is, the form that most others copy."""

NEVER = -100
"""Bias of the logit of a token that mustn't be drawn."""
UNKNOWN = -1
"""Stands for the id of a token that a server only counted."""
TEMPLATE_TOKENS = 256
"""More tokens than a chat template adds to the texts of one turn."""


def encode(clip: Clip, form: Form) -> str:
    """The frames as a data address of a video, bit for bit as the loader made them."""
    if form == "sglang":
        return "data:video/mp4;base64," + base64.b64encode(sglang.mp4(clip)).decode()
    # vLLM opens each part with Pillow, which goes by the content: PNG under this name is read, and loses nothing.
    # One video and not single images, which would be another prompt: without times,
    # each frame a block of its own, and no two of them merged into a patch.
    return "data:video/jpeg;base64," + ",".join(base64.b64encode(png).decode() for png in _pngs(clip))


def _pngs(clip: Clip) -> list[bytes]:
    from PIL import Image

    pictures = []
    for frame in clip.frames:
        buffer = io.BytesIO()
        Image.fromarray(frame.transpose(1, 2, 0)).save(buffer, "PNG", compress_level=1)
        pictures.append(buffer.getvalue())
    return pictures


@dataclass
class Videos:
    """A clip's encodings, made once by whoever comes first."""

    clip: Clip
    lock: threading.Lock = field(default_factory=threading.Lock)
    made: dict[Form, str] = field(default_factory=dict)

    def of(self, form: Form) -> str:
        """See `encode`."""
        with self.lock:
            if form not in self.made:
                self.made[form] = encode(self.clip, form)
            return self.made[form]


def question(
    form: Form,
    model: str,
    request: PromptRequest,
    clip: Clip,
    video: str,
    sampling: Sampling,
    *,
    family: Family,
    n: int,
    seed: int,
    textless: Sequence[int] = (),
) -> dict[str, Any]:
    """The body of one request to `/v1/chat/completions`.

    Everything that shapes the draw is named: servers fill what is left out from the model's `generation_config.json`,
    and that of Qwen2.5-VL holds a repetition penalty.

    Args:
        form: Of the request.
        model: Name of the model at the server.
        request: What is asked.
        clip: About what.
        video: `encode` of it.
        sampling: How tokens are drawn.
        family: Of the model.
        n: Completions.
        seed: Of the first of them.
        textless: Ids that no text has, which the engine never draws.
    """
    system = {"role": "system", "content": [{"type": "text", "text": request.system}]}
    messages: list[dict[str, Any]] = [system] if request.system else []
    parts = [{"type": "video_url", "video_url": {"url": video}}, {"type": "text", "text": request.user}]
    messages.append({"role": "user", "content": parts})
    body = {
        "model": model,
        "messages": messages,
        "n": n,
        "seed": seed,
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        # As the engine's texts: special tokens stay visible, so that a strict check of the format sees them.
        "skip_special_tokens": False,
        "stream": False,
    }
    if textless:
        # As words (`bad_words`) they can't be named. Added to a logit, this leaves nothing to draw.
        body["logit_bias"] = {str(token): NEVER for token in textless}
    if family.time_in == "text" and request.think is not None:
        # Families that tell times as text are those whose templates may begin the reasoning.
        body["chat_template_kwargs"] = {THINKING: request.think}
    return body | (_vllm(clip, family) if form == "vllm" else sglang.fields(clip))


def _vllm(clip: Clip, family: Family) -> dict[str, Any]:
    """What vLLM must be told so that it takes the frames as they are, at their true times."""
    fps, indices, duration = family.told_vllm(clip)
    # The rate goes two ways: processors of transformers 4 read `fps`, those of transformers 5 the video's metadata.
    return {
        "media_io_kwargs": {
            "video": {
                # All: if nothing is said, vLLM takes the first 32.
                "num_frames": -1,
                "fps": fps,
                "do_sample_frames": False,
                "total_num_frames": len(clip.frames),
                "frames_indices": indices,
                "duration": duration,
            }
        },
        "mm_processor_kwargs": {"fps": fps, "do_sample_frames": False, "do_resize": False},
        "bad_words": list(VISION_TOKENS),
        "return_token_ids": True,
    }


@dataclass(frozen=True, slots=True)
class ServerCompletion:
    """What came back for one prompt."""

    completions: list[Completion]
    prompt_tokens: int
    counted: bool
    """The tokens of each completion are known."""


def read(answer: Mapping[str, Any], n: int) -> ServerCompletion:
    """Completions and counts of an answer.

    Raises:
        TransientFault: it isn't the answer that was asked for.
        ServerError: the server takes the reasoning, or calls of tools, out of the text.
    """
    try:
        prompt_tokens, drawn = int(answer["usage"]["prompt_tokens"]), int(answer["usage"]["completion_tokens"])
        choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
        found = [_completion(choice, drawn if n == 1 else None) for choice in choices]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise TransientFault(f"the answer lacks `choices` or `usage` as OpenAI's have them: {str(answer)[:200]}") from None
    if len(found) != n:
        raise TransientFault(f"{len(found)} completions came where {n} were asked for")
    completions = [one for one in found if one is not None]
    return ServerCompletion(completions, prompt_tokens, len(completions) == n)


def _completion(choice: Mapping[str, Any], drawn: int | None) -> Completion | None:
    """One choice; None when its tokens can't be counted."""
    from trlt.engine.forest import Completion

    message, reason = choice["message"], choice["finish_reason"]
    if message.get("reasoning_content") or message.get("reasoning") or message.get("tool_calls"):
        raise ServerError(
            "the server takes reasoning or calls of tools out of the text, which would then count as badly formed; "
            "start it without --reasoning-parser and --tool-call-parser"
        )
    text = message["content"]
    if not isinstance(text, str) or reason not in ("stop", "length"):
        raise TransientFault(f"a completion ended with {reason!r} and the text {str(text)[:50]!r}")
    if reason == "stop":
        text = next((text.removesuffix(mark) for mark in END_TOKENS if text.endswith(mark)), text)
    ids = choice.get("token_ids", choice.get("response_token_ids"))  # vLLM's name and SGLang's
    if ids is None and drawn is None:
        return None
    tokens = tuple(int(token) for token in ids) if ids is not None else (UNKNOWN,) * (drawn or 0)
    return Completion(text, tokens, reason == "stop")


def check_tokens(
    said: ServerCompletion, request: PromptRequest, clip: Clip, form: Form, family: Family, template: int = 0
) -> None:
    """Refuses an answer to less or more than the whole clip: the video must be seen, and the budget must hold.

    Args:
        said: The answer.
        request: What was asked.
        clip: About what.
        form: Of the requests.
        family: Of the model.
        template: Tokens that its chat template adds, where that is known.

    Raises:
        ServerError: the prompt had fewer tokens than the clip and its texts need, or more than they can have.
    """
    # Without the model's tokenizer a text's tokens are known only roughly: at least one a word, at most one a byte.
    text = f"{request.system} {request.user}"
    least, most = template + len(text.split()), TEMPLATE_TOKENS + len(text.encode("utf-8", "surrogatepass"))
    video = family.length(clip)
    if not video + least <= said.prompt_tokens <= video + most:
        raise ServerError(
            f"the prompt of sample {request.key!r} had {said.prompt_tokens} tokens there: {video} of its video and "
            f"{least} to {most} of text were due; {remedy(form, family)}"
        )


def remedy(form: Form, family: Family) -> str:
    """Ends an error about frames that didn't arrive as they were sent."""
    fault = "it ignores the video, or samples or resizes its frames again; "
    if form == "sglang":
        return f"{fault}start it with the settings and the processor of trlt\n  {sglang.START}"
    return f"""{fault}start vLLM with --media-io-kwargs '{{"video": {{"num_frames": -1}}}}', and with a {family.name}"""


def rate_remedy(form: Form) -> str:
    """Ends an error about a rate that didn't arrive."""
    if form == "sglang":
        return f"SGLang needs the processor of trlt for it; start it with\n  {sglang.START}"
    return "take vLLM 0.31 or later"


def first_seed(seed: int, request: PromptRequest) -> int:
    """Of a request's first completion; the next ones count up, as vLLM does by itself. 31 bits are taken everywhere."""
    digest = hashlib.sha256(
        f"{seed}\0{request.key}\0{request.system}\0{request.user}".encode("utf-8", "surrogatepass")
    ).digest()
    # With room above, since the seeds of further completions count up.
    return int.from_bytes(digest[:8], "big") % (2**31 - 2**16)


def likeliest(answer: Mapping[str, Any]) -> dict[str, float]:
    """Log-probabilities of the first token's likeliest candidates, by their texts; empty where there are none.

    Raises:
        TransientFault: they don't have OpenAI's shape.
    """
    try:
        content = (answer["choices"][0].get("logprobs") or {}).get("content") or []
        found = content[0]["top_logprobs"] if content else []
        # Several ids may share a text (parts of characters): the likeliest comes first.
        figures = {str(one["token"]): float(one["logprob"]) for one in reversed(found)}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise TransientFault(f"`logprobs` aren't as OpenAI's: {str(answer.get('choices'))[:200]}") from None
    # Servers write a log-probability of minus infinity as a large number.
    return {token: value for token, value in figures.items() if math.isfinite(value) and value > -1e3}


def pattern(frames: int, family: Family, fps: float = 30.0, stamps: Sequence[float] | None = None) -> Clip:
    """A small clip, different in every frame, of the smallest size that a family's own settings leave as it is.

    Faster than a server samples on its own (SGLang: twice a second), so that one which does is found out.

    Args:
        frames: How many.
        family: Of the model.
        fps: Their rate.
        stamps: Seconds of each frame, where they aren't those of the rate.
    """
    import numpy as np

    from trlt.video.clip import Clip

    side = 2 * family.geometry.side
    ramp = np.arange(frames * 3 * side * side, dtype=np.uint32).reshape(frames, 3, side, side)
    return Clip.of(
        (ramp * 7 % 251).astype(np.uint8),
        np.arange(frames) / fps,
        sample_fps=fps,
        duration=frames / fps,
        stamps=None if stamps is None else np.array(stamps),
        geometry=family.geometry,
    )
