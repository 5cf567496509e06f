"""What is found out about a server before it is relied on: which model it serves, and that it sees what it is sent.

Everything is asked through the same requests as the work itself. A server that samples or resizes frames again, drops their
rate, or holds weights that were trained by another rule of positions would answer all questions, and wrongly.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from trlt.engine.opening import opening_of
from trlt.engine.servers import times
from trlt.engine.servers.asking import Asker
from trlt.engine.servers.cards import ModelCard
from trlt.engine.servers.crew import ServerJob
from trlt.engine.servers.messages import Videos, likeliest, pattern, rate_remedy, remedy
from trlt.engine.servers.pool import Server
from trlt.errors import ServerError
from trlt.files.server_call import Refused, TransientFault

if TYPE_CHECKING:  # torch loads with the first run
    from trlt.engine.families import Family
    from trlt.video.clip import Clip

FRAMES = (2, 40)
"""Of the clips that a server is tried with; more than the 32 that vLLM takes of a video unless it is told otherwise."""
RATES = (2.0, 0.25)
"""Frames a second at which the same frames are shown. 2 is what servers assume that drop the rate: at another, their figures
stay the same."""
LIKELIEST = 20
"""Tokens whose log-probabilities are compared; vLLM gives no more by default."""
LEAST_EFFECT = 1e-3
"""Least difference of a log-probability that proves the rate to be used. Seen with vLLM 0.32: 6.8 and more for the miniature;
not one token in common for random weights with the published vocabulary, in BF16; two equal requests, 0."""
NOISE = 4
"""So many times must the effect of the rate exceed the difference of two equal requests."""
MOST_BIASED = 1000
"""Ids of one request that can be kept out of the draw; vLLM takes 1,024."""
_NO_ID = 2**31 - 1
_SIZE = re.compile(r"[Vv]ocabulary size: (\d+)")


class Proof:
    """Looks at servers.

    Args:
        asker: Asks them; learns the model's name.
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._told: Family | None = None
        """What a server has said of its model's family, or its folder."""

    def look(self, server: Server) -> None:
        """Raises if a server isn't well, has another model by now, or can't take videos.

        Raises:
            TransientFault: it isn't well.
            ServerError: it can't be relied on.
        """
        try:
            self._asker.call(server, "/health", timeout_s=10.0, wordless=True)
        except Refused as refused:
            if refused.status not in (404, 405):  # not every server has it
                raise self._asker.refusal(server, refused) from None
        # What is back may be another program: all of it is proved again.
        self.prove(server)

    def prove(self, server: Server) -> None:
        """Learns a server's model and template, and tries it with small clips.

        Its prompts must grow by the tokens of the frames, no more and no less, and hold their times: in its log-probabilities,
        which must follow the rate of the frames, or in its text.

        Raises:
            TransientFault: it isn't well.
            ServerError: it can't be relied on; with the reason and the remedy.
        """
        card = self._learn_model(server)
        # SGLang may draw the completions of one request from one seed: it is asked for them one by one.
        server.many = server.kind != "sglang"
        server.template, server.bare_template, server.textless, server.openings = 0, 0, range(0), {}
        family = self._asker.family
        # trlt's own server has the engine inside: it tells times as the engine does, and draws no id without a text.
        foreign = server.kind != "trlt"
        if foreign and family.time_in == "text":
            # First, since the times' digits are among the tokens that are counted.
            server.openings = self._prove_times(server, card)
        few, many = (pattern(frames, family) for frames in FRAMES)
        first, least = self._try(server, few), family.length(few)
        # The difference of two clips, in which template and texts cancel out.
        grown, due = self._try(server, many) - first, family.length(many) - least
        if grown != due:
            raise ServerError(
                f"{server.address}: {FRAMES[1] - FRAMES[0]} more frames added {grown} tokens to a prompt, not {due}; "
                f"{remedy(server.form, family)}"
            )
        # Templates put in a system text of their own, or leave its turn out, where none is given.
        bare = self._try(server, few, system="") - least - 1
        # One that is left to itself may close the reasoning in the prompt, and open it alone where it's asked for.
        spare = max(0, first - self._try(server, few, think=True)) if family.time_in == "text" else 0
        template = first - least - 2  # a text of these is one token
        server.template, server.bare_template = template - spare, bare - spare
        if foreign and family.time_in == "positions":
            self._prove_rate(server)
        if server.kind == "vllm":
            server.textless = self._textless(server)
        server.proven = True

    def _learn_model(self, server: Server) -> ModelCard:
        try:
            answer = self._asker.call(server, "/v1/models", timeout_s=30.0)
            cards = {str(card["id"]): card for card in answer["data"]}
            owners = {name: str(card.get("owned_by", "")) for name, card in cards.items()}
        except Refused as refused:
            if refused.status == 404:
                raise ServerError(
                    f"{server.address}: no OpenAI-compatible server, for it has no /v1/models; correct --server"
                ) from None
            raise self._asker.refusal(server, refused) from None
        except (KeyError, TypeError, AttributeError):
            raise TransientFault("/v1/models doesn't list models as OpenAI's does") from None
        names, asker = ", ".join(owners) or "none", self._asker
        if asker.model is None and len(owners) == 1:
            asker.model = next(iter(owners))
        if asker.model is None:
            raise ServerError(f"{server.address}: serves {len(owners)} models ({names}); name one with --model")
        if owners and asker.model not in owners:  # one that lists none may still know the name
            raise ServerError(
                f"{server.address}: doesn't serve {asker.model!r}, but {names}; all servers must serve one model: leave out "
                "--model, or give its name at the servers"
            )
        owner = owners.get(asker.model)
        server.kind = "sglang" if owner == "sglang" else "trlt" if owner == "trlt" else "vllm"
        try:
            card = ModelCard(asker.model, cards)
            if server.kind != "trlt":
                card.refuse_other_rule(server.kind)
            self._learn_family(server, card)
        except ServerError as error:
            raise ServerError(f"{server.address}: {error}") from None
        return card

    def _learn_family(self, server: Server, card: ModelCard) -> None:
        family = card.family
        if family is not None:
            if self._told not in (None, family):
                raise ServerError(
                    f"serves a {family.name}, and another server a {self._told.name}; all servers must serve one model"
                )
            self._asker.family = self._told = family
        family = self._asker.family
        if server.kind == "sglang" and not family.sglang:
            raise ServerError(
                f"SGLang wasn't seen to read videos of {family.name} as trlt does; serve it with vLLM, or with `trlt serve`"
            )

    def _try(self, server: Server, clip: Clip, system: str = "?", think: bool | None = None) -> int:
        """Tokens of a prompt with a clip; finds out, too, whether completions can be asked for together."""
        job = _job(clip, system, 2, think)
        if server.many and think is None:
            self._asker.ask(server, job)
        try:
            return self._asker.request(server, job, 0, 1)[0].prompt_tokens
        except Refused as refused:
            raise self._asker.refusal(server, refused) from None

    def _prove_rate(self, server: Server) -> None:
        """No count of tokens depends on the rate, but the positions of the tokens do, and with them every log-probability."""
        fast, slow = (pattern(FRAMES[1], self._asker.family, rate) for rate in RATES)
        # By turns: what wanders with a server's load then counts as noise and not as effect.
        found = [self._figures(server, clip) for clip in (fast, slow, fast, slow)]
        noise = max(_gap(found[0], found[2]), _gap(found[1], found[3]))
        effect = min(_gap(one, other) for one in found[::2] for other in found[1::2])
        if effect < max(LEAST_EFFECT, NOISE * noise):
            raise ServerError(
                f"{server.address}: the same {FRAMES[1]} frames at {RATES[0]:g} and at {RATES[1]:g} frames a second gave "
                f"log-probabilities that differ by {effect:.1e} at most, and two equal requests by {noise:.1e}: "
                f"it drops the rate of the frames, and every time in its answers would be wrong; {rate_remedy(server.form)}"
            )

    def _prove_times(self, server: Server, card: ModelCard) -> dict[bool | None, str]:
        """The same frames, told twice: each prompt must state its own times, in the form in which weights have seen them.

        Returns:
            What the template begins of a completion, by whether reasoning is asked for.
        """
        family, openings = self._asker.family, dict[bool | None, str]()
        for stamps in times.STAMPS:
            clip = pattern(len(stamps), family, stamps=stamps)
            for think in (None, True, False):
                try:
                    _, answer = self._asker.request(server, _job(clip, "?", 1, think), 0, 1)
                except Refused as refused:
                    raise self._asker.refusal(server, refused) from None
                try:
                    said = self._text(server, answer["prompt_token_ids"])
                except (Refused, KeyError, TypeError):
                    raise ServerError(f"{server.address}: {times.UNTOLD}") from None
                if fault := times.fault(said, family.text(clip), card.has_outer_marks(family), family.name, card.place):
                    raise ServerError(f"{server.address}: {fault}")
                openings[think] = opening_of(said)
        return openings

    def _figures(self, server: Server, clip: Clip) -> dict[str, float]:
        try:
            _, answer = self._asker.request(server, _job(clip, "?", 1), 0, 1, logprobs=True, top_logprobs=LIKELIEST)
        except Refused as refused:
            raise ServerError(
                f"{self._asker.refusal(server, refused)}\nWithout log-probabilities it can't be proved that the server uses "
                f"the rate of the frames; let it give {LIKELIEST} (vLLM: --max-logprobs {LIKELIEST})"
            ) from None
        found = likeliest(answer)
        if not found:
            raise ServerError(
                f"{server.address}: gave no log-probabilities (`logprobs`, `top_logprobs`), so it can't be proved that it uses "
                "the rate of the frames; ask vLLM or SGLang itself, and not through a program that takes them out"
            )
        return found

    def _textless(self, server: Server) -> range:
        """Ids at the end of the vocabulary that stand for no text: the embedding has more rows than the tokenizer has tokens.

        Empty where the server doesn't tell, or where there are more than a request can name.
        """
        job = _job(pattern(FRAMES[0], self._asker.family), "?", 1)
        try:
            self._asker.request(server, job, 0, 1, logit_bias={str(_NO_ID): -100})
            return range(0)
        except Refused as refused:
            size = _SIZE.search(str(refused))
        if size is None:
            return range(0)
        end = int(size[1])
        step, known = 1, end
        try:
            # In growing steps from the end, then by halves: the ids from `known` on have no text.
            while known - step >= 0 and not self._text(server, range(known - step, known)):
                known, step = known - step, step * 2
                if end - known > MOST_BIASED:
                    return range(0)
            while step > 1:
                step //= 2
                if known - step >= 0 and not self._text(server, range(known - step, known)):
                    known -= step
        except (Refused, KeyError, TypeError):  # no /detokenize, or none like vLLM's
            return range(0)
        return range(known, end)

    def _text(self, server: Server, ids: Iterable[int]) -> str:
        return str(self._asker.call(server, "/detokenize", {"model": self._asker.model, "tokens": list(ids)}, 30.0)["prompt"])


def _job(clip: Clip, system: str, n: int, think: bool | None = None) -> ServerJob:
    from trlt.engine.forest import PromptRequest
    from trlt.engine.sampling import Sampling

    asked = PromptRequest("check", system, "?", think=think)
    return ServerJob((0, 0, 0), asked, Videos(clip), n, Sampling(max_new_tokens=1), threading.Event())


def _gap(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Largest difference over the tokens that both have; without any, they could hardly differ more."""
    return max((abs(one[token] - other[token]) for token in one.keys() & other.keys()), default=float("inf"))
