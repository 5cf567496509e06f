"""vLLM servers that this process starts, asks in place of its engine, and ends; however it ends itself. POSIX only."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from trlt.engine.servers.client import Servers
from trlt.engine.vllm import keeper
from trlt.engine.vllm.server_log import reasons, said_last
from trlt.engine.vllm.server_plan import SERVED, ServerPlan
from trlt.errors import ServerError
from trlt.files.server_call import Refused, ServerAddress, TransientFault, call
from trlt.stats.pace import Rhythm, clock_words

if TYPE_CHECKING:  # torch loads with the first run
    from trlt.engine.forest import Answered, Completion, Tree
    from trlt.engine.sampling import Sampling

SILENCE_S = 900.0
"""How long a server that is starting may write nothing: large weights take long, but each file of them is told."""
LOOK_S = 0.2
HEALTH_S = 2.0
"""For one look at whether a server is up."""


class OwnServers:
    """Servers of vLLM, started when they are first needed; a context manager, which ends them.

    Args:
        plan: What they are started with.
        log: The file for what the server of a number writes; None: one in the temporary folder, which is kept after a failure.
        on_event: Is told what is started, how far it is, and when a server is lost.
    """

    def __init__(self, plan: ServerPlan, log: Callable[[int], Path] | None, on_event: Callable[[str], None]) -> None:
        self.plan = plan
        self.parity: None = None
        """vLLM makes its inputs itself."""
        self._log, self._on_event = log, on_event
        self._scratch: Path | None = None
        self._folder = contextlib.ExitStack()
        """Holds what servers are given as files."""
        self._logs: list[Path] = []
        self._keepers: list[subprocess.Popen[bytes]] = []
        self._places: dict[str, int] = {}
        """Number of the server at an address."""
        self._servers: Servers | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(failed=error is not None)

    def start(self) -> None:
        """Starts them and waits until they answer, unless they do already.

        Raises:
            ServerError: one ends, or is silent for too long; or doesn't take videos as they are.
        """
        if self._servers is not None:
            return
        try:
            self._launch()
        except BaseException:
            self.close(failed=True)
            raise

    def _launch(self) -> None:
        count, began = len(self.plan.gpus), time.monotonic()
        if self._log is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="trlt-vllm-"))
        self._logs = [self._log(place) if self._log else self._scratch_log(place) for place in range(count)]
        self._on_event(f"{self.plan.words}; starting, logs in {', '.join(map(str, self._logs))}")
        template = None
        if self.plan.template is not None:
            # They read it as they start, and at no other time.
            folder = self._folder.enter_context(tempfile.TemporaryDirectory(prefix="trlt-vllm-template-"))
            template = Path(folder, "chat_template.jinja")
            template.write_text(self.plan.template, encoding="utf-8")
        # Made anew for each start, and told to the servers' processes alone.
        key = secrets.token_hex(32)
        self._keepers, urls = [], []
        with _free_ports(count) as ports:
            for place, port in enumerate(ports):
                urls.append(f"http://127.0.0.1:{port}")
                self._keepers.append(self._keep(place, self.plan.command(port, template), key))
            self._places = {url: place for place, url in enumerate(urls)}
            self._await(urls)
        servers = Servers(urls, model=SERVED, family=self.plan.family, key=key, gone=self.gone, on_event=self._on_event)
        servers.check()
        self._servers = servers
        self._on_event(f"vLLM: up after {clock_words(time.monotonic() - began)}")

    def _scratch_log(self, place: int) -> Path:
        assert self._scratch
        return self._scratch / f"vllm-{place}.log"

    def _keep(self, place: int, command: Sequence[str], key: str) -> subprocess.Popen[bytes]:
        log = self._logs[place]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(keeper.__file__).resolve()), *command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env=self.plan.environment(place, key),
                # `python -m` imports from the current folder first, and somebody's may hold one named vllm.
                cwd=log.parent,
                # Ctrl-C is for this process, which then ends them.
                start_new_session=True,
            )

    def _await(self, urls: Sequence[str]) -> None:
        """Waits until all answer; as long as each says something from time to time."""
        waiting, rhythm, began = dict(enumerate(urls)), Rhythm(), time.monotonic()
        heard = dict.fromkeys(waiting, (0, began))
        while waiting:
            for place, url in list(waiting.items()):
                if words := self.gone(url):
                    raise ServerError(f"vLLM's server {words}")
                if _is_up(url):
                    del waiting[place]
                    continue
                size, since = heard[place]
                now, grown = time.monotonic(), self._logs[place].stat().st_size
                if grown != size:
                    heard[place] = (grown, now)
                elif now - since > SILENCE_S:
                    raise ServerError(
                        f"vLLM's server has written nothing for {SILENCE_S / 60:.0f} minutes while it was starting; the last "
                        f"of {self._logs[place]}: {said_last(self._logs[place])}"
                    )
            if waiting and rhythm.due():
                last = said_last(self._logs[next(iter(waiting))])
                self._on_event(f"vLLM: starting, {clock_words(time.monotonic() - began)}: {last}")
            if waiting:
                time.sleep(LOOK_S)

    def gone(self, address: str) -> str | None:
        """How the server at an address ended, with what its log says of it; None while its process is there."""
        place = self._places[address]
        code = self._keepers[place].poll()
        if code is None:
            return None
        log = self._logs[place]
        how = f"with status {code}"
        if code > 128 and code - 128 in signal.valid_signals():
            how = f"by {signal.Signals(code - 128).name}"
            if code - 128 == signal.SIGKILL:
                how += ", as the system ends processes when memory runs out"
        shown = "".join(f"\n  {line[:300]}" for line in reasons(log))
        return f"ended {how}; all that it wrote is in {log}:{shown}"

    def close(self, *, failed: bool = False) -> None:
        """Ends the servers, with all that they have started; waits for that, since they hold memory until then.

        Args:
            failed: Logs in the temporary folder are kept.
        """
        for process in self._keepers:
            assert process.stdin
            with contextlib.suppress(OSError):
                process.stdin.close()
        for process in self._keepers:
            # Not ended itself where that takes long: it goes on to end them, whatever becomes of this process.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3 * keeper.GRACE_S)
        self._servers = None
        self._folder.close()
        if self._scratch is not None and not failed:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def generate(self, trees: Sequence[Tree], sampling: Sampling, *, max_sequences: int = 256) -> list[list[list[Completion]]]:
        """As the engine's."""
        from trlt.engine.forest import by_tree

        return by_tree(trees, self.stream(trees, sampling, max_sequences=max_sequences))

    def stream(
        self,
        trees: Iterable[Tree],
        sampling: Sampling,
        *,
        max_sequences: int = 256,
        ended: Callable[[int], None] | None = None,
    ) -> Iterator[Answered]:
        """As the engine's, with `max_sequences` for each server. Starts them, if there is anything to ask.

        Raises:
            ServerError: they can't be started, refuse a request, or have ended.
        """
        trees = iter(trees)
        first = next(trees, None)
        if first is None:
            return
        self.start()
        assert self._servers
        most = max_sequences * len(self.plan.gpus)
        yield from self._servers.stream(itertools.chain([first], trees), sampling, max_sequences=most, ended=ended)

    def describe(self) -> dict[str, Any]:
        """What answers, for a manifest."""
        return self.plan.describe()


def _is_up(url: str) -> bool:
    try:
        call(ServerAddress.parse(url), "/health", key=None, timeout_s=HEALTH_S, wordless=True)
    except (TransientFault, Refused):
        return False
    return True


@contextlib.contextmanager
def _free_ports(count: int) -> Iterator[list[int]]:
    """Ports that nothing listens on, all different, and which nobody else is given meanwhile.

    vLLM takes its port a minute after its start. Until then another program could be given it, or the next server, for itself.
    Linux lets a second socket have an address and listen there as long as both ask for that, and the first doesn't listen.
    """
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        yield [int(one.getsockname()[1]) for one in sockets]
