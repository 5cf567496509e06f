"""vLLM's side of `bench.vllm`, run by the Python of vLLM's own environment: a line of JSON in, a line of JSON out.

Knows nothing of trlt: takes frames, token ids and settings, and tells how long `LLM.generate` took.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

NEVER = -100.0
"""Bias of the logit of a token that mustn't be drawn."""


def prepare(told: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """vLLM with the model, and how it is set up."""
    vllm, torch = importlib.import_module("vllm"), importlib.import_module("torch")
    known = vllm.EngineArgs.__dataclass_fields__
    llm = vllm.LLM(trust_remote_code=False, **{key: value for key, value in told["llm"].items() if key in known})
    config = llm.llm_engine.vllm_config
    found = {
        "vllm": vllm.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "batched_tokens": config.scheduler_config.max_num_batched_tokens,
        "sequences": config.scheduler_config.max_num_seqs,
        "prefix_caching": bool(config.cache_config.enable_prefix_caching),
        "chunked_prefill": bool(config.scheduler_config.enable_chunked_prefill),
        "eager": bool(config.model_config.enforce_eager),
    }
    return llm, found


def generate(llm: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """n completions of one prompt: their token ids, log-probabilities, and the seconds from frames and ids to them."""
    vllm, np = importlib.import_module("vllm"), importlib.import_module("numpy")
    frames, times = np.load(asked["frames"]), asked["times"]
    times = {"fps": times["fps"], "duration": times["duration"], "frames_indices": times["indices"]}
    times["total_num_frames"] = len(frames)
    prompt = {
        "prompt_token_ids": asked["ids"],
        "multi_modal_data": {"video": [(frames, {**times, "video_backend": "trlt", "do_sample_frames": False})]},
        "mm_processor_kwargs": {"do_resize": False, "do_sample_frames": False},
    }
    # Without seeds of requests: on the CPU these can't be had together with prefills in chunks.
    params = vllm.SamplingParams(
        n=asked["n"],
        temperature=1.0,
        top_p=asked["top_p"],
        max_tokens=asked["length"],
        logit_bias={token: NEVER for token in asked["banned"]},
        logprobs=0,
        repetition_penalty=1.0,
        detokenize=False,
    )
    began = time.perf_counter()
    [output] = llm.generate([prompt], params, use_tqdm=False)
    took = time.perf_counter() - began
    drawn = output.outputs
    return {
        "seconds": took,
        "prompt": list(output.prompt_token_ids),
        "completions": [list(one.token_ids) for one in drawn],
        "logps": [[found[token].logprob for token, found in zip(one.token_ids, one.logprobs, strict=True)] for one in drawn],
    }


def main() -> None:
    # Whatever a library prints must not land among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # In this script's folder, `vllm` is another file.
    del sys.path[0]
    llm: Any = None
    for line in sys.stdin:
        told = json.loads(line)
        if llm is None:
            llm, answer = prepare(told)
        else:
            answer = generate(llm, told)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
