"""Clips -> prompts -> samples: encode a clip once, prefill a prompt once, branch to n samples at the end.

Knows tensors and token ids; never answers or rewards. In float32 a sample's completions depend on (seed, key, prompt)
alone: not on the other trees, their order, or how many are decoded side by side (see `sampling`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trlt.engine.attention import Branches, Level, branch_attention, causal_attention, use_branches
from trlt.engine.inputs import ClipInputs, InputBuilder, PromptInputs
from trlt.engine.sampling import Sampling, draw, uniforms
from trlt.video.clip import Clip


@dataclass(frozen=True)
class Request:
    """One prompt of a clip, and how many completions it wants."""

    key: str
    """Names the random stream, with the sampling seed; a sample's id."""
    system: str
    user: str
    n: int = 1


@dataclass(frozen=True)
class Tree:
    """A clip and its prompts."""

    clip: Clip
    requests: tuple[Request, ...]


@dataclass(frozen=True)
class Completion:
    """What the model wrote."""

    text: str
    tokens: tuple[int, ...]
    """Sampled ids, the end mark included where there is one."""
    finished: bool
    """False when the token limit cut it off."""
    logps: tuple[float, ...] = field(default=(), compare=False)
    """Log-probability of each token at the sampling temperature; equal up to rounding, so not compared."""


class Recorder:
    """Attention of one phase: reads the levels above, records the keys and values that it is shown."""

    def __init__(self, levels: Sequence[Level] = ()) -> None:
        self.levels = levels
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `Branches.attend`."""
        if layer in self.keys:
            key = torch.cat([self.keys[layer], key], dim=2)
            value = torch.cat([self.values[layer], value], dim=2)
        self.keys[layer], self.values[layer] = key, value
        if not self.levels and query.shape[2] == key.shape[2]:
            return causal_attention(query, key, value, scale)
        return branch_attention(query, key, value, self.levels, layer, scale)

    def keep(self, rows: Tensor) -> None:
        """Drops all other rows' own keys and values."""
        self.keys = {layer: t.index_select(0, rows) for layer, t in self.keys.items()}
        self.values = {layer: t.index_select(0, rows) for layer, t in self.values.items()}

    def level(self, lengths: Sequence[int], nodes: Sequence[int]) -> Level:
        """What was recorded, as nodes for `len(nodes)` rows below; `lengths` of the nodes without padding."""
        keys = [self.keys[i] for i in range(len(self.keys))]
        values = [self.values[i] for i in range(len(self.values))]
        return make_level(keys, values, lengths, nodes)


def make_level(keys: Sequence[Tensor], values: Sequence[Tensor], lengths: Sequence[int], nodes: Sequence[int]) -> Level:
    """A level from keys and values (N, H_kv, L, D) a layer, the N true lengths, and each row's node."""
    device, width = keys[0].device, keys[0].shape[2]
    hidden = None
    if min(lengths) < width:
        hidden = torch.arange(width, device=device) >= torch.tensor(lengths, device=device)[:, None]
    members: list[list[int]] = [[] for _ in lengths]
    for row, node in enumerate(nodes):
        members[node].append(row)
    most = max(map(len, members))
    slots = [0] * len(nodes)
    for node, rows in enumerate(members):
        for place, row in enumerate(rows):
            slots[row] = node * most + place
    padded = [[*rows, *[0] * (most - len(rows))] for rows in members]
    index = torch.tensor(padded, device=device), torch.tensor(slots, device=device), torch.tensor(nodes, device=device)
    even = list(nodes) == [node for node in range(len(members)) for _ in range(most)]
    return Level(keys, values, hidden, *index, even)


@dataclass
class _Branch:
    """One completion while it grows."""

    clip: ClipInputs
    prompt: PromptInputs
    request: Request
    index: int
    stream: Tensor
    tokens: list[int] = field(default_factory=list)
    logps: list[float] = field(default_factory=list)
    finished: bool = False


class Engine:
    """Completions for trees of prompts, from a Qwen2.5-VL.

    Args:
        model: A `Qwen2_5_VLForConditionalGeneration`; its language model keeps the branching attention.
        processor: The model's own processor.
        exact: Settle draws near a boundary one by one (see `sampling`); None does so in float32.
    """

    def __init__(self, model: Any, processor: Any, *, exact: bool | None = None) -> None:
        use_branches(model)
        self.model = model
        self.builder = InputBuilder(model, processor)
        self.device: torch.device = model.device
        self.exact = model.dtype == torch.float32 if exact is None else exact
        self.settled = 0
        """Draws that were settled alone since the engine was made."""
        self._alone: dict[Hashable, Recorder] = {}
        # What `_settle` has prefilled in this wave; ids are of objects that live as long as the wave.
        self._alone_prompts: dict[int, tuple[Recorder, Tensor]] = {}
        self._banned = self.builder.suppressed(model.config.text_config.vocab_size).to(self.device)
        self._ends = frozenset(self.builder.end_tokens)

    @torch.inference_mode()
    def generate(self, trees: Sequence[Tree], sampling: Sampling, *, max_sequences: int = 256) -> list[list[list[Completion]]]:
        """Completions by tree, request and branch; at most `max_sequences` (or one request's n) grow side by side."""
        training = self.model.training
        self.model.eval()
        try:
            results: list[list[list[Completion]]] = [[[] for _ in tree.requests] for tree in trees]
            for wave in _waves(trees, max_sequences):
                done = self._wave([(trees[t].clip, [trees[t].requests[r] for r in rs]) for t, rs in wave], sampling)
                places = [(t, r) for t, rs in wave for r in rs]
                for (t, r), completions in zip(places, done, strict=True):
                    results[t][r] = completions
            return results
        finally:
            self.model.train(training)

    def _wave(self, trees: Sequence[tuple[Clip, list[Request]]], sampling: Sampling) -> list[list[Completion]]:
        clips = [self.builder.clip(clip) for clip, _ in trees]
        owners = [i for i, (_, requests) in enumerate(trees) for _ in requests]
        requests = [request for _, some in trees for request in some]
        prompts = [self.builder.prompt(r.system, r.user, clips[i]) for i, r in zip(owners, requests, strict=True)]
        features = self._encode(clips)
        # Prompts of a clip share its prefix when their system texts agree; each distinct prefix is prefilled once.
        keys = [(i, r.system) for i, r in zip(owners, requests, strict=True)]
        heads = list(dict.fromkeys(keys))
        first = [keys.index(head) for head in heads]
        node_of = {head: n for n, head in enumerate(heads)}
        top = self._prefill_clips([prompts[p] for p in first], [features[heads[n][0]] for n in range(len(heads))])
        lengths = [len(prompts[p].prefix) for p in first]
        # With one prefix in the wave, this is already what `_settle` would compute alone.
        self._alone = {(id(clips[0]), heads[0][1]): top} if len(heads) == 1 and len(clips) == 1 else {}
        self._alone_prompts = {}
        nodes = [node_of[key] for key in keys]
        middle, logits = self._prefill_prompts(prompts, top.level(lengths, nodes))
        branches = [
            _Branch(clips[owner], prompt, request, b, self._stream(request, b, sampling))
            for owner, prompt, request in zip(owners, prompts, requests, strict=True)
            for b in range(request.n)
        ]
        of_prompt = [p for p, request in enumerate(requests) for _ in range(request.n)]
        tails = [len(p.suffix) for p in prompts]
        try:
            self._grow(branches, of_prompt, nodes, top, lengths, middle, tails, logits, sampling)
        finally:
            self._alone, self._alone_prompts = {}, {}
        done: list[list[Completion]] = [[] for _ in requests]
        for p, branch in zip(of_prompt, branches, strict=True):
            body = branch.tokens[:-1] if branch.finished else branch.tokens
            text = self.builder.decode(body)
            done[p].append(Completion(text, tuple(branch.tokens), branch.finished, tuple(branch.logps)))
        return done

    def _stream(self, request: Request, branch: int, sampling: Sampling) -> Tensor:
        key = f"{request.key}\0{request.system}\0{request.user}"
        return torch.from_numpy(uniforms(sampling.seed, key, branch, sampling.max_new_tokens)).to(self.device)

    def _encode(self, clips: Sequence[ClipInputs]) -> list[Tensor]:
        """(tokens, hidden) features of each clip; the vision tower runs once over all of them."""
        pixels = torch.cat([clip.pixels for clip in clips]).to(self.device)
        grid = torch.cat([clip.grid for clip in clips]).to(self.device)
        return list(self.model.model.get_video_features(pixels, grid).pooler_output)

    def _prefill_clips(self, prompts: Sequence[PromptInputs], features: Sequence[Tensor]) -> Recorder:
        """Keys and values of each distinct prefix."""
        ids, _ = _pad([p.prefix for p in prompts])
        ids = ids.to(self.device)
        embeds = self.model.get_input_embeddings()(ids)
        video = ids == self.model.config.video_token_id
        embeds = embeds.masked_scatter(video[..., None], torch.cat(list(features)).to(embeds.dtype))
        positions, _ = _pad([p.positions[:, : len(p.prefix)] for p in prompts])
        recorder = Recorder()
        self._forward(embeds, positions, recorder)
        return recorder

    def _prefill_prompts(self, prompts: Sequence[PromptInputs], level: Level) -> tuple[Recorder, Tensor]:
        """Keys and values of each prompt after its clip, and the logits (prompts, V) of the first token."""
        ids, lengths = _pad([p.suffix for p in prompts])
        positions, _ = _pad([p.positions[:, len(p.prefix) :] for p in prompts])
        recorder = Recorder([level])
        hidden = self._forward(self.model.get_input_embeddings()(ids.to(self.device)), positions, recorder)
        last = torch.tensor(lengths, device=self.device) - 1
        return recorder, self.model.lm_head(hidden[torch.arange(len(prompts), device=self.device), last])

    def _forward(self, embeds: Tensor, positions: Tensor, branches: Branches) -> Tensor:
        """Hidden states (R, T, d); positions (3, R, T)."""
        out = self.model.model.language_model(
            inputs_embeds=embeds,
            position_ids=positions.to(self.device),
            attention_mask={"full_attention": None},
            use_cache=False,
            branches=branches,
        )
        return out.last_hidden_state  # type: ignore[no-any-return]

    def _grow(
        self,
        branches: Sequence[_Branch],
        of_prompt: Sequence[int],
        nodes: Sequence[int],
        top: Recorder,
        top_lengths: Sequence[int],
        middle: Recorder,
        middle_lengths: Sequence[int],
        logits: Tensor,
        sampling: Sampling,
    ) -> None:
        """Samples until every branch has ended; ended branches leave the batch."""
        alive = list(range(len(branches)))
        own = Recorder()
        logits = logits[torch.tensor(of_prompt, device=self.device)]
        streams = torch.stack([branch.stream for branch in branches])
        start = torch.tensor([branch.prompt.next_position for branch in branches], device=self.device)

        def hang() -> None:
            prompts = [of_prompt[b] for b in alive]
            own.levels = [top.level(top_lengths, [nodes[p] for p in prompts]), middle.level(middle_lengths, prompts)]

        hang()
        for step in range(sampling.max_new_tokens):
            drawn = draw(logits, streams[:, step], sampling, self._banned)
            tokens = drawn.tokens.tolist()
            if self.exact:
                for row in drawn.unsure.nonzero()[:, 0].tolist():
                    tokens[row] = self._settle(branches[alive[row]], step, sampling)
            for b, token, logp in zip(alive, tokens, drawn.logps.tolist(), strict=True):
                branches[b].tokens.append(token)
                branches[b].logps.append(logp)
                branches[b].finished = token in self._ends
            going = [row for row, b in enumerate(alive) if not branches[b].finished]
            if not going or step + 1 == sampling.max_new_tokens:
                return
            if len(going) < len(alive):
                index = torch.tensor(going, device=self.device)
                own.keep(index)
                alive, tokens = [alive[row] for row in going], [tokens[row] for row in going]
                start, streams = start[index], streams[index]
                hang()
            embeds = self.model.get_input_embeddings()(torch.tensor(tokens, device=self.device)[:, None])
            hidden = self._forward(embeds, (start + step)[None, :, None].expand(3, -1, -1), own)
            logits = self.model.lm_head(hidden[:, 0])

    def _settle(self, branch: _Branch, step: int, sampling: Sampling) -> int:
        """The same draw from logits that are computed for this branch alone."""
        self.settled += 1
        prompt, done = branch.prompt, branch.tokens
        key: Hashable = (id(branch.clip), branch.request.system)
        if key not in self._alone:
            self._alone[key] = self._prefill_clips([prompt], self._encode([branch.clip]))
        level = self._alone[key].level([len(prompt.prefix)], [0])
        if id(prompt) not in self._alone_prompts:
            self._alone_prompts[id(prompt)] = self._prefill_prompts([prompt], level)
        middle, logits = self._alone_prompts[id(prompt)]
        if done:
            levels = [level, middle.level([len(prompt.suffix)], [0])]
            embeds = self.model.get_input_embeddings()(torch.tensor([done], device=self.device))
            positions = prompt.next_position + torch.arange(len(done))
            hidden = self._forward(embeds, positions[None, None, :].expand(3, -1, -1), Recorder(levels))
            logits = self.model.lm_head(hidden[:, -1])
        return int(draw(logits, branch.stream[step : step + 1], sampling, self._banned).tokens)


def _pad(rows: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
    """Stacks tensors of shape (..., L) to (..., R, L_max), padded with zeros on the right."""
    lengths = [row.shape[-1] for row in rows]
    padded = [torch.nn.functional.pad(row, (0, max(lengths) - row.shape[-1])) for row in rows]
    return torch.stack(padded, dim=-2), lengths


def _waves(trees: Sequence[Tree], most: int) -> Iterator[list[tuple[int, list[int]]]]:
    """Splits trees into waves of at most `most` sequences; a tree is split between requests where it must be."""
    wave: list[tuple[int, list[int]]] = []
    room = most
    for t, tree in enumerate(trees):
        if wave and sum(r.n for r in tree.requests) > room and room < most:
            yield wave
            wave, room = [], most
        for r, request in enumerate(tree.requests):
            if wave and request.n > room:
                yield wave
                wave, room = [], most
            if wave and wave[-1][0] == t:
                wave[-1][1].append(r)
            else:
                wave.append((t, [r]))
            room -= request.n
    if wave:
        yield wave
