"""Clips -> prompts -> samples: encode a clip once, prefill a prompt once, branch to n samples at the end.

Branches don't wait for the slowest: as soon as there is room, the next clips are prefilled and grow beside the others. Knows
tensors and token ids; never answers or rewards. In float32 a sample's completions depend on (seed, key, prompt) alone: not on
the other trees, their order, or how many are decoded at once (see `sampling`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trlt.engine.agreement import Agreement
from trlt.engine.attention import Branches
from trlt.engine.cohort import Branch, Cohort, Recorder, Together
from trlt.engine.families import family_of
from trlt.engine.first_completion import Drawn, FirstClip, compare
from trlt.engine.inputs import ClipInputs, InputBuilder, PromptInputs
from trlt.engine.memory import fits, room_for_tokens, state_tokens
from trlt.engine.nodes import Nodes
from trlt.engine.request_queue import CompletionJob, Costs, PromptRequest, Queue, Room, Tree
from trlt.engine.routers import watched
from trlt.engine.sampling import NOISE, Sampling, draw, uniforms
from trlt.errors import ModelError, VideoError
from trlt.errors.faults import fault_of

__all__ = ["Answered", "Completion", "Engine", "PromptRequest", "Tree"]

PREFILL_TOKENS = 65_536
"""Maximum number of video tokens prefilled per forward pass."""
REFILL = 0.25
"""Share of the sequences that must be free before new ones start: fewer, larger prefills."""


@dataclass(frozen=True)
class Completion:
    """The model's output."""

    text: str
    """With the opening that the chat template has written for it, where it writes one."""
    tokens: tuple[int, ...]
    """Sampled ids, including the end mark if there is one."""
    finished: bool
    """False if the token limit cut it off."""
    logps: tuple[float, ...] = field(default=(), compare=False)
    """Log-probability of each token at the sampling temperature; equal up to rounding, so not compared."""


OnToken = Callable[[Sequence[Branch]], None]
"""Called with branches that each got one more token, including those that it ended."""


class Answered(NamedTuple):
    """A request with all completions, or one that can't be answered."""

    tree: int
    request: int
    completions: list[Completion]
    error: VideoError | None = None
    """The error of its clip or prompt when tried alone; there are no completions then."""


def by_tree(trees: Sequence[Tree], answered: Iterable[Answered]) -> list[list[list[Completion]]]:
    """Completions by tree, request and branch; the first error is raised."""
    results: list[list[list[Completion]]] = [[[] for _ in tree.requests] for tree in trees]
    for one in answered:
        if one.error is not None:
            raise one.error
        results[one.tree][one.request] = one.completions
    return results


class Engine:
    """Completions for trees of prompts, from a model of any family.

    Args:
        model: Of a family that trlt knows; its language model keeps the branching attention.
        processor: The model's own processor.
        exact: Prefill each clip and prompt alone, and settle draws near a boundary one by one (see `sampling`); None means in
            float32.
        on_event: Called when memory ran short, with the consequence; and with the result of the comparison.
        compare_first: Compare the first completion with the library's own forward before any answer; needs a `Clip`.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        exact: bool | None = None,
        on_event: Callable[[str], None] | None = None,
        compare_first: bool = False,
    ) -> None:
        self.family = family_of(model)
        self.family.attach(model)
        self.model = model
        self.builder = InputBuilder(model, processor)
        self.device: torch.device = model.device
        # In BF16 too many draws would lie near a boundary to settle them one by one (docs/decisions/forest-engine.md).
        self.exact = model.dtype == torch.float32 if exact is None else exact
        self.settled = 0
        """Number of draws settled alone since the engine's creation."""
        self.on_event = on_event
        self.first = FirstClip(self._compare) if compare_first else None
        """Watches the first completion of the next requests, and is dropped after its report."""
        self.parity: Agreement | None = None
        """Result of the comparison, once it is done."""
        self._processor = processor
        self._costs = Costs(state_tokens(model), self.family.time_tokens)
        self._room: Room | None = None
        """What memory was found to suffice for, after it ran short."""
        # A vision mark that was sampled would be taken for a place of the video when the trainer scores the
        # completion, and an id behind the tokenizer's last one has no text (with the marks, 404 ids of the 7B).
        self.banned = self.builder.suppressed(model.config.text_config.vocab_size).to(self.device)
        """(V,) True for tokens that are never drawn."""
        self.ends = frozenset(self.builder.end_tokens)
        """Tokens that end a completion."""

    @property
    def precision(self) -> str:
        """Compute precision, as a key of `agreement.TOLERANCES`."""
        return "float32" if self.exact else "bfloat16"

    def generate(
        self, trees: Sequence[Tree], sampling: Sampling, *, max_sequences: int = 256, on_token: OnToken | None = None
    ) -> list[list[list[Completion]]]:
        """Completions by tree, request and branch; see `stream`, whose errors are raised here."""
        return by_tree(trees, self.stream(trees, sampling, max_sequences=max_sequences, on_token=on_token))

    @torch.no_grad()  # not inference_mode: autocast would cast every weight anew for each token
    def stream(
        self,
        trees: Iterable[Tree],
        sampling: Sampling,
        *,
        max_sequences: int = 256,
        ended: Callable[[int], None] | None = None,
        on_token: OnToken | None = None,
    ) -> Iterator[Answered]:
        """Yields requests in the order in which they finish.

        When memory runs short, half as many grow from then on, `on_event` is called, and dropped work is repeated: in float32
        with the same outcome.

        If encoding and prefilling several clips raises, each request is tried alone, and one that fails alone is answered by
        its error. A decoding step is shared by all that grow: an error in it ends the stream.

        Args:
            trees: Read one by one, when there is room for the next.
            sampling: How tokens are drawn.
            max_sequences: Maximum number of completions that grow at once; a request with more is answered in parts.
            ended: Called with the number of completions that have just ended, once for each.
            on_token: Called after each step with all that grow and their tokens so far; an error in it ends the stream.

        Raises:
            ModelError: not enough memory for one completion.
            ParityError: the first completion differs from the library's own forward; none is answered then.
        """
        training = self.model.training
        # A trainer's model comes in training mode: dropout would draw from another policy than the one that is scored.
        self.model.eval()
        if self.first:
            self.first = FirstClip(self.first.done)  # what an earlier call had begun and didn't end is forgotten
        try:
            queue = Queue(trees, sampling.max_new_tokens, self._costs)
            room = self._room or Room(max_sequences, room_for_tokens(self.model))
            yield from self._run(queue, Room(min(room.sequences, max_sequences), room.tokens), sampling, ended, on_token)
        finally:
            self.model.train(training)

    def _run(
        self,
        queue: Queue,
        room: Room,
        sampling: Sampling,
        ended: Callable[[int], None] | None,
        on_token: OnToken | None,
    ) -> Iterator[Answered]:
        growing: list[Cohort] = []
        done, held = _PartialAnswers(), list[Answered]()
        while self._refill(queue, growing, room, sampling, done):
            # Nothing grows that could bring errors along one by one: all are told now, before more trees are read.
            if not growing:
                yield from done.failures()
                continue
            # Branches get their tokens in `_append` alone: whichever of these two fails, a retreat has only keys to undo.
            if fits(lambda: self._look(growing)) is None:
                self._retreat(queue, growing, room)
                continue
            tokens = fits(lambda: self._draw(growing, sampling))
            if tokens is None:
                self._retreat(queue, growing, room)
                continue
            if self.first:  # before `_append`, which lets go of the logits
                self.first.see(growing[0], tokens[0][0], sampling.max_new_tokens)
            # Listed before `_append` drops those that end: `on_token` shows their last token, too.
            grown = [branch for cohort in growing for branch in cohort.branches]
            branches = self._append(growing, *tokens, sampling.max_new_tokens)
            if on_token:
                on_token(grown)
            if ended and branches:
                ended(len(branches))
            for branch in branches:
                # The end mark is a token that is scored and learned, but no text.
                body = branch.tokens[:-1] if branch.finished else branch.tokens
                text = branch.prompt.opening + self.builder.decode(body)
                completion = Completion(
                    text,
                    tuple(branch.tokens),
                    branch.finished,
                    tuple(branch.logps),
                )
                if answered := done.add(branch, completion):
                    # Those that failed were there sooner; one at a time, so that a reader sees how many of how many they are.
                    held += [answered, *done.failures(1)]
            # The comparison takes memory, too: where there is too little, others make room for it.
            while self.first and self.first.drawn and fits(self._tell) is None:
                self._retreat(queue, growing, room)
            # Nothing is answered before the comparison: of wrong inputs, no row is to be left.
            if not self.first:
                yield from held
                held.clear()
        yield from done.failures()

    def _tell(self) -> bool:
        """Reports the first completion, and stops watching."""
        assert self.first and self.first.drawn
        self.first.done(self.first.drawn)
        self.first = None
        return True

    def _compare(self, drawn: Drawn) -> None:
        """Compares the first completion with the library's own forward."""
        self.parity = compare(drawn, self.model, self._processor, self.precision)
        if self.on_event:
            self.on_event(self.parity.words)

    # -- room ---------------------------------------------------------------------------------------------------------

    def _refill(self, queue: Queue, growing: list[Cohort], room: Room, sampling: Sampling, done: _PartialAnswers) -> bool:
        """Starts new branches if there is room; False if nothing is left to do."""
        while True:
            sequences, tokens = self._held(growing)
            free = Room(room.sequences - sequences, room.tokens - tokens)
            if growing and free.sequences < max(1, room.sequences * REFILL):
                return True
            jobs = queue.take(free, most=room.sequences, alone=not growing)
            if not jobs:
                return bool(growing)
            if self._start(jobs, growing, sampling, done):
                # A long row of requests that all fail would else be read to its end before the first failure is told.
                if done.errors and not growing:
                    return True
                continue
            queue.put_back(jobs)
            # Half of what was tried, those that didn't fit included.
            sequences += sum(len(job.indices) for job in jobs)
            tokens += sum(
                self._costs.clip(job.clip) + self._costs.grown(1, len(job.indices), sampling.max_new_tokens) for job in jobs
            )
            self._halve(room, sequences, tokens)

    def _start(self, jobs: Sequence[CompletionJob], growing: list[Cohort], sampling: Sampling, done: _PartialAnswers) -> bool:
        """Starts jobs beside those that grow; False if there isn't enough memory, and then none has started.

        If that raises, each is tried alone to find the faulty one.
        """
        jobs = [job for job in jobs if not done.has_failed(job)]
        if not jobs:
            return True
        began = len(growing)
        try:
            # The first branch has to stand in the first row of its pass, so only a prefill beside nothing else is watched.
            with self.first.prefill(self.model) if self.first and not growing else nullcontext():
                cohort = fits(lambda: self._begin(jobs, sampling))
            if cohort is not None:
                growing.append(cohort)
            return cohort is not None
        # Several clips and prompts are prefilled together, so any of them may be to blame. What the machine or
        # the device is to blame for is raised again by `fault_of`: the next request would meet the same.
        except Exception as error:
            fault = fault_of(error)  # holds no traceback, which would hold tensors
            if len(jobs) == 1:
                done.fail(jobs[0], fault)
                return True
        for job in jobs:
            if not self._start([job], growing, sampling, done):
                # All or none: the caller puts every job back, and those that had begun here would be asked twice.
                del growing[began:]
                return False
        return True

    def _retreat(self, queue: Queue, growing: list[Cohort], room: Room) -> None:
        """Drops the newest half of what grows, to be asked again; a partial last step is undone."""
        self._halve(room, *self._held(growing))
        # The newest have the fewest tokens to draw again.
        first = len(growing) // 2
        queue.put_back(job for cohort in growing[first:] for job in cohort.left())
        del growing[first:]
        # The pass may have failed between two layers: those before hold keys of a token that the others haven't seen.
        for cohort in growing:
            cohort.own.cut(cohort.steps - (cohort.logits is None))

    def _held(self, growing: Sequence[Cohort]) -> tuple[int, float]:
        """Sequences and tokens of the room that are taken."""
        return sum(map(len, growing)), sum(cohort.tokens(self._costs) for cohort in growing)

    def _halve(self, room: Room, sequences: int, tokens: float) -> None:
        if sequences <= 1:
            raise ModelError(
                f"{self.device}: the memory doesn't suffice for one completion; take a device with more, "
                "or lower video.max_tokens or max_new_tokens, which makes another run (--fresh, or another --out)"
            )
        room.sequences, room.tokens = sequences // 2, tokens / 2
        # For good, also for later calls: what didn't fit once wouldn't fit
        # again, and each retreat costs tokens that are drawn anew.
        self._room = Room(room.sequences, room.tokens)
        if self.on_event:
            self.on_event(
                f"{self.device}: out of memory with {sequences} completions side by side; going on with {room.sequences} "
                f"(max_sequences={room.sequences} starts there)"
            )

    # -- phases -------------------------------------------------------------------------------------------------------

    def _begin(self, jobs: Sequence[CompletionJob], sampling: Sampling) -> Cohort:
        """Encodes clips, prefills them and their prompts; the branches have no token yet."""
        # By identity: all requests of a tree, and the parts of one that was split, hold the same object.
        distinct = {id(job.clip): job.clip for job in jobs}
        place = {name: i for i, name in enumerate(distinct)}
        owners = [place[id(job.clip)] for job in jobs]
        clips = [clip if isinstance(clip, ClipInputs) else self.builder.clip(clip) for clip in distinct.values()]
        prompts = [
            self.builder.prompt(j.request.system, j.request.user, clips[o], think=j.request.think)
            for o, j in zip(owners, jobs, strict=True)
        ]
        # Prompts of a clip share its prefix when their system texts agree; each distinct prefix is prefilled once.
        keys = [(owner, job.request.system) for owner, job in zip(owners, jobs, strict=True)]
        heads = list(dict.fromkeys(keys))
        first = [prompts[keys.index(head)] for head in heads]
        # The tower once a clip, the prefix once a clip and system text, the rest once a prompt. The library's
        # `generate` would repeat the whole prompt for each completion, and knows no second level.
        features = self._encode(clips)
        top = Nodes.join(
            [
                self._prefill_clips([first[i] for i in some], [features[heads[i][0]] for i in some])
                for some in self._passes([len(prompt.prefix) for prompt in first])
            ]
        )
        nodes = [heads.index(key) for key in keys]
        parts = [
            self._prefill_prompts([prompts[i] for i in some], top, [nodes[i] for i in some])
            for some in self._passes([len(prompt.prefix) + len(prompt.suffix) for prompt in prompts])
        ]
        middle, logits = Nodes.join([part for part, _ in parts]), torch.cat([first for _, first in parts])
        of_prompt = [p for p, job in enumerate(jobs) for _ in job.indices]
        branches = [
            Branch(job, index, prompt, self._stream(job.request, index, sampling))
            for job, prompt in zip(jobs, prompts, strict=True)
            for index in job.indices
        ]
        first_logits = logits[torch.tensor(of_prompt, device=self.device)]
        return Cohort(jobs, branches, of_prompt, nodes, top.without_states(), middle, first_logits)

    def _passes(self, lengths: Sequence[int]) -> list[list[int]]:
        """The sequences of each prefill pass: one if draws are exact, else as many as fit."""
        passes: list[list[int]] = []
        longest = 0
        for i, length in enumerate(lengths):
            longest = max(longest, length)
            # Alone where draws are exact: batched products differ in their last bits, and keys would hand that on.
            if not passes or self.exact or (len(passes[-1]) + 1) * longest > PREFILL_TOKENS:
                passes.append([])
                longest = length
            passes[-1].append(i)
        return passes

    def _stream(self, request: PromptRequest, branch: int, sampling: Sampling) -> Tensor:
        # With the prompt's words: a sample that is asked in another way draws by numbers of its own.
        key = f"{request.key}\0{request.system}\0{request.user}"
        return torch.from_numpy(uniforms(sampling.seed, key, branch, sampling.max_new_tokens)).to(self.device)

    def encode(self, clip: ClipInputs) -> Tensor:
        """(tokens, hidden) features of a clip, made by the vision tower."""
        with torch.no_grad():
            return self._encode([clip])[0]

    def _encode(self, clips: Sequence[ClipInputs]) -> list[Tensor]:
        """(tokens, hidden) features of each clip; the vision tower runs for those without."""
        features = {i: clip.features.to(self.device) for i, clip in enumerate(clips) if clip.features is not None}
        left = [i for i in range(len(clips)) if i not in features]
        for some in self._passes([clips[i].tokens for i in left]):
            few = [left[place] for place in some]
            pixels = torch.cat([pixels for i in few if (pixels := clips[i].pixels) is not None]).to(self.device)
            grid = torch.cat([clips[i].grid for i in few]).to(self.device)
            features.update(zip(few, self.family.encode(self.model, pixels, grid), strict=True))
        return [features[i] for i in range(len(clips))]

    def _prefill_clips(self, prompts: Sequence[PromptInputs], features: Sequence[Tensor]) -> Nodes:
        """Keys and values of each distinct prefix."""
        ids, lengths = _pad([p.prefix for p in prompts])
        positions, _ = _pad([p.positions[:, : len(p.prefix)] for p in prompts])
        recorder = Recorder(lengths=lengths)
        self._forward(ids, positions, recorder, torch.cat(list(features)))
        return recorder.nodes(lengths)

    def _prefill_prompts(self, prompts: Sequence[PromptInputs], top: Nodes, nodes: Sequence[int]) -> tuple[Nodes, Tensor]:
        """Keys and values of each prompt after its clip, and the logits (prompts, V) of the first token."""
        ids, lengths = _pad([p.suffix for p in prompts])
        positions, _ = _pad([p.positions[:, len(p.prefix) :] for p in prompts])
        # Exact draws prefill one prompt a pass, over its clip as if no other were there: padding would
        # change the shapes of the products, and with them the last bits of the prompt's keys.
        recorder = Recorder([top.alone(nodes[0]) if self.exact else top.level(nodes)], top.carried(nodes), lengths)
        hidden = self._forward(ids, positions, recorder)
        # Of the last tokens alone: 152k logits take more memory than a token's keys and values do.
        last = torch.tensor(lengths, device=self.device) - 1
        return recorder.nodes(lengths), self.model.lm_head(hidden[torch.arange(len(prompts), device=self.device), last])

    def _forward(self, ids: Tensor, positions: Tensor, branches: Branches, features: Tensor | None = None) -> Tensor:
        """Hidden states (R, T, d) of ids (R, T); positions (3, R, T)."""
        return self.family.states(self.model, ids.to(self.device), positions.to(self.device), features, branches)

    def _look(self, growing: Sequence[Cohort]) -> bool:
        """Feeds the last drawn tokens to the model; after this, all have logits."""
        # A new cohort has logits from its prefill.
        blind = [cohort for cohort in growing if cohort.logits is None]
        if blind:
            branches = [branch for cohort in blind for branch in cohort.branches]
            last = torch.tensor([branch.tokens[-1] for branch in branches], device=self.device)
            positions = torch.cat([cohort.positions for cohort in blind])
            router = self.family.router if self.exact else ""
            with watched(self.model, router, NOISE * self.family.rounding) as undecided:
                hidden = self._forward(last[:, None], positions[None, :, None].expand(3, -1, -1), Together(blind))
            if undecided:
                for row in torch.stack(undecided).any(0).nonzero()[:, 0].tolist():
                    branches[row].undecided = True
            logits = torch.split(self.model.lm_head(hidden[:, 0]), [len(cohort) for cohort in blind])
            for cohort, some in zip(blind, logits, strict=True):
                cohort.seen(some)
        return True

    def _draw(self, growing: Sequence[Cohort], sampling: Sampling) -> tuple[list[int], list[float]]:
        """The next token of every branch, and its log-probability; changes nothing."""
        logits = torch.cat([cohort.logits for cohort in growing if cohort.logits is not None])
        uniform = torch.cat([cohort.streams[:, cohort.steps] for cohort in growing])
        drawn = draw(logits, uniform, sampling, self.banned, self.family.rounding)
        tokens, logps = drawn.tokens.tolist(), drawn.logps.tolist()
        if self.exact:
            rows = [(cohort, row) for cohort in growing for row in range(len(cohort))]
            # One by one: in a batch, its size would decide the last bits again.
            unsure = set(drawn.unsure.nonzero()[:, 0].tolist())
            # All that follow a token that another expert may have seen stand on other keys.
            unsure |= {i for i, (cohort, row) in enumerate(rows) if cohort.branches[row].undecided}
            for i in sorted(unsure):
                cohort, row = rows[i]
                if cohort.steps:  # prompts are prefilled alone: the first token's logits are settled already
                    tokens[i], logps[i] = self._settle(cohort, row, sampling)
        return tokens, logps

    def _settle(self, cohort: Cohort, row: int, sampling: Sampling) -> tuple[int, float]:
        """The same draw, and its log-probability, from logits that are computed for this branch alone."""
        # All its tokens anew: the cached keys of the earlier ones came out of batched products.
        self.settled += 1
        branch = cohort.branches[row]
        ids = torch.tensor([branch.tokens])
        positions = branch.prompt.next_position + torch.arange(len(branch.tokens))
        hidden = self._forward(ids, positions[None, None, :].expand(3, -1, -1), cohort.above(row))
        logits = self.model.lm_head(hidden[:, -1])
        drawn = draw(logits, branch.stream[cohort.steps : cohort.steps + 1], sampling, self.banned)
        return int(drawn.tokens), float(drawn.logps)

    def _append(self, growing: list[Cohort], tokens: Sequence[int], logps: Sequence[float], limit: int) -> list[Branch]:
        """Appends each branch's token; ended branches are removed."""
        drawn = zip(tokens, logps, strict=True)
        ended: list[Branch] = []
        for cohort in growing:
            # From here until `_look` has run, a cohort has one token more than keys. `_retreat` counts on None for this.
            cohort.steps, cohort.logits = cohort.steps + 1, None
            going = []
            for row, (branch, (token, logp)) in enumerate(zip(cohort.branches, islice(drawn, len(cohort)), strict=True)):
                branch.tokens.append(token)
                branch.logps.append(logp)
                branch.finished = token in self.ends
                if branch.finished or cohort.steps == limit:
                    ended.append(branch)
                else:
                    going.append(row)
            cohort.keep(going)
        growing[:] = [cohort for cohort in growing if len(cohort)]
        return ended


class _PartialAnswers:
    """Requests with some completions still missing."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, int], dict[int, Completion]] = {}
        self._failed: set[tuple[int, int]] = set()
        self.errors: list[Answered] = []
        """Unreported failures."""

    def fail(self, job: CompletionJob, error: VideoError) -> None:
        """A request can't be answered."""
        self._failed.add(job.place)
        self.errors.append(Answered(*job.place, [], error))

    def has_failed(self, job: CompletionJob) -> bool:
        """Whether another part of the same request has failed."""
        return job.place in self._failed

    def failures(self, most: int | None = None) -> list[Answered]:
        """Requests that can't be answered, each once."""
        taken = self.errors[:most]
        del self.errors[:most]
        return taken

    def add(self, branch: Branch, completion: Completion) -> Answered | None:
        """The request, once its last completion is added."""
        place = branch.job.place
        parts = self._parts.setdefault(place, {})
        # By index: the parts of a request end in any order, and after a retreat some are drawn again later.
        parts[branch.index] = completion
        if len(parts) < branch.job.request.n:
            return None
        del self._parts[place]
        return Answered(*place, [parts[index] for index in sorted(parts)])


def _pad(rows: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
    """Stacks tensors of shape (..., L) to (..., R, L_max), padded with zeros on the right."""
    lengths = [row.shape[-1] for row in rows]
    padded = [torch.nn.functional.pad(row, (0, max(lengths) - row.shape[-1])) for row in rows]
    return torch.stack(padded, dim=-2), lengths
