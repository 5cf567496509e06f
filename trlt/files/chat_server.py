"""An OpenAI-compatible server that is asked short texts: many at once, with retries, each only once.

Knows addresses, texts and failures; nothing of what is asked.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.errors import ServerError, counted
from trlt.files.replies import Reply, ReplyStore, key_of
from trlt.files.server_call import Refused, ServerAddress, TransientFault, call

LONGEST_PAUSE_S = 60.0
_OF_THE_REQUEST = (400, 413, 422)
"""Refusals that may be about one request alone, such as one that is too long."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How much is asked at once, and how long failures are put up with."""

    concurrency: int = 32
    timeout_s: float = 60.0
    """For one request."""
    attempts: int = 8
    backoff_s: float = 1.0
    """Wait after a first failure; doubled with each further one up to `LONGEST_PAUSE_S`, give or take half."""


class ChatServer:
    """Asks one model, at temperature 0.

    Args:
        named: Begins messages, such as `reward.judge`.
        address: Where it listens.
        model: Its name there.
        max_tokens: Of a reply.
        more: Further fields of each request; None takes one of those that are sent here away.
        key: Sent as a bearer token; never kept nor told.
        key_env: Name of the environment variable that the key is from, for messages.
        patience: See `Patience`.
        folder: Where replies are kept; None keeps them for this process.
    """

    def __init__(
        self,
        named: str,
        address: ServerAddress,
        model: str,
        *,
        max_tokens: int,
        key: str | None = None,
        key_env: str | None = None,
        patience: Patience | None = None,
        folder: Path | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self._named, self._address = model, named, address
        self._max_tokens, self._key, self._key_env = max_tokens, key, key_env
        self._more = dict(more or {})
        self._patience = patience or Patience()
        self._store = ReplyStore(folder)
        self.asked = 0
        """Requests that were answered by the server, and not by what is kept."""

    def ask(self, texts: Sequence[str]) -> dict[str, Reply | Refused]:
        """The reply to each distinct text, or the server's refusal of it.

        Raises:
            ServerError: the server can't be reached, fails again and again, or refuses whatever it is asked.
        """
        self._store.refresh()
        found: dict[str, Reply | Refused] = {}
        left: list[str] = []
        for text in dict.fromkeys(texts):
            if (known := self._store.get(key_of(self._request(text)))) is not None:
                found[text] = known
            else:
                left.append(text)
        if not left:
            return found
        stop = threading.Event()
        pool = ThreadPoolExecutor(min(self._patience.concurrency, len(left)), thread_name_prefix="trlt-judge")
        try:
            under_way = {pool.submit(self._one, text, stop): text for text in left}
            for done in as_completed(under_way):
                found[under_way[done]] = done.result()
        finally:
            # Also after an error or Ctrl-C: those that wait between two tries end then.
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
        return found

    def _request(self, text: str) -> dict[str, Any]:
        turns = [{"role": "user", "content": text}]
        request = {"model": self.model, "messages": turns, "temperature": 0, "max_tokens": self._max_tokens} | self._more
        return {name: value for name, value in request.items() if value is not None}

    def _one(self, text: str, stop: threading.Event) -> Reply | Refused:
        request, faults = self._request(text), 0
        while True:
            try:
                answer = call(
                    self._address,
                    "/v1/chat/completions",
                    key=self._key,
                    timeout_s=self._patience.timeout_s,
                    body=request,
                )
                reply = _read(answer)
            except Refused as refused:
                if refused.status in _OF_THE_REQUEST:
                    return refused
                raise self._refusal(refused) from None
            except TransientFault as fault:
                faults += 1
                if faults >= self._patience.attempts or stop.is_set():
                    raise ServerError(
                        f"{self._named}: {self._address} failed {counted(faults, 'time')} in a row: {fault}; start the server, "
                        f"or correct {self._named}.url, then run the command again: what was answered is kept"
                    ) from None
                pause = self._patience.backoff_s * 2.0 ** (faults - 1) * random.uniform(0.5, 1.5)
                stop.wait(min(LONGEST_PAUSE_S, max(fault.wait_s or 0.0, pause)))
                continue
            self.asked += 1
            return self._store.put(key_of(request), reply, text)

    def _refusal(self, refused: Refused) -> ServerError:
        hint = {
            401: self._about_the_key(),
            403: self._about_the_key(),
            404: f"; is {self.model!r} the name of the model there ({self._named}.model), and does the address end before /v1?",
        }.get(refused.status, "")
        return ServerError(f"{self._named}: {self._address} refused a request with {refused}{hint}")

    def _about_the_key(self) -> str:
        if self._key_env is None:
            return f"; name the environment variable that holds its key: {self._named}.key_env"
        return f"; is the key in the environment variable {self._key_env} right?"


def _read(answer: dict[str, Any]) -> Reply:
    """The one completion of an answer.

    Raises:
        TransientFault: it holds none.
    """
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise TransientFault(f"an answer without choices[0].message.content: {str(answer)[:200]}") from None
    # Null where a server has put all of it into its reasoning.
    return Reply("" if text is None else str(text), choice.get("finish_reason") != "length")
