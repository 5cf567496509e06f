"""The library's own way, as its documentation has it: the processor, then `generate`. What the engine is measured against."""

from __future__ import annotations

from typing import Any

import torch

from trlt.engine.families import chat, family_of
from trlt.engine.sampling import Sampling
from trlt.video.clip import Clip


class Library:
    """A model with its own attention.

    Args:
        model: On its device; nobody else's, for the engine changes a model's attention.
        processor: Its own.
        banned: Token ids that are never drawn.
    """

    def __init__(self, model: Any, processor: Any, banned: list[int]) -> None:
        self.model, self.processor, self._banned = model, processor, banned

    def inputs(self, clip: Clip, system: str, user: str) -> Any:
        """One prompt with its clip; frames are taken as they are, as the engine takes them."""
        family = family_of(self.model)
        made = self.processor(
            text=[family.chat(self.processor, chat(system, user), None)],
            videos=[torch.from_numpy(clip.frames)],
            video_metadata=[family.metadata(clip)],
            do_resize=False,
            do_sample_frames=False,
            return_tensors="pt",
        )
        if "second_per_grid_ts" in made:
            made["second_per_grid_ts"] = torch.tensor([clip.seconds_per_grid])
        return made.to(self.model.device)

    def greedy(self, clip: Clip, system: str, user: str, length: int) -> list[int]:
        """The likeliest completion, token by token."""
        inputs = self.inputs(clip, system, user)
        out = self.model.generate(**inputs, max_new_tokens=length, do_sample=False, suppress_tokens=self._banned)
        return until(out[0, inputs["input_ids"].shape[1] :].tolist(), self._ends)

    def sample(self, clip: Clip, system: str, user: str, n: int, sampling: Sampling) -> list[list[int]]:
        """n completions of one prompt, up to and with their end marks."""
        inputs = self.inputs(clip, system, user)
        # top_k=0: the library's default of 50 would draw from another distribution.
        out = self.model.generate(
            **inputs,
            max_new_tokens=sampling.max_new_tokens,
            num_return_sequences=n,
            do_sample=True,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=0,
            suppress_tokens=self._banned,
        )
        return [until(row[inputs["input_ids"].shape[1] :].tolist(), self._ends) for row in out]

    @property
    def _ends(self) -> list[int]:
        found: list[int] = self.processor.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
        return found

    @torch.no_grad()
    def logps(self, clip: Clip, system: str, user: str, tokens: tuple[int, ...]) -> torch.Tensor:
        """`scores` without gradients, on the CPU."""
        return self.scores(clip, system, user, tokens).cpu()

    def scores(self, clip: Clip, system: str, user: str, tokens: tuple[int, ...]) -> torch.Tensor:
        """(T,) log-probabilities of a completion, from one forward pass over the whole sequence."""
        inputs = self.inputs(clip, system, user)
        new = torch.tensor([tokens], device=self.model.device)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], new], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        kinds = inputs["mm_token_type_ids"]
        inputs["mm_token_type_ids"] = torch.cat([kinds, kinds.new_zeros(1, len(tokens))], dim=1)
        logits: torch.Tensor = self.model(**inputs, logits_to_keep=len(tokens) + 1).logits[0, :-1]
        return logits.float().log_softmax(-1).gather(-1, new[0, :, None])[:, 0]


def until(tokens: list[int], ends: list[int]) -> list[int]:
    """Tokens up to and with the first end mark; what follows is padding."""
    for place, token in enumerate(tokens):
        if token in ends:
            return tokens[: place + 1]
    return tokens
