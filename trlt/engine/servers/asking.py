"""One question to one server: the request, what it may refuse, and whether its answer is to the whole clip."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trlt.engine.servers.crew import ServerJob
from trlt.engine.servers.messages import ServerCompletion, check_tokens, first_seed, question, read
from trlt.engine.servers.pool import Limits, Server
from trlt.errors import ServerError
from trlt.files.server_call import Refused, call
from trlt.recipe import advice

if TYPE_CHECKING:  # torch loads with the first run
    from trlt.engine.families import Family
    from trlt.engine.forest import Completion

KEYS = ("TRLT_API_KEY", "OPENAI_API_KEY")
"""Environment variables for a key, the first that is set; it is never written."""
TRUST = "--trust-request-mm-kwargs"
"""Flag without which vLLM from 0.31 on refuses any request that says how its frames are to be read."""


class Asker:
    """Asks servers.

    Args:
        model: Name of the model there; None until it is known.
        limits: See `Limits`.
        family: Of the model.
        key: Sent as a bearer token; None takes it from the environment.
    """

    def __init__(self, model: str | None, limits: Limits, family: Family, key: str | None = None) -> None:
        self.model = model
        self.family = family
        self.limits = limits
        self._key = key or next((os.environ[name] for name in KEYS if os.environ.get(name)), None)

    def call(
        self,
        server: Server,
        path: str,
        body: dict[str, Any] | None = None,
        timeout_s: float | None = None,
        *,
        wordless: bool = False,
    ) -> Any:
        """See `transport.call`."""
        limit = timeout_s or self.limits.timeout_s
        return call(server.address, path, key=self._key, timeout_s=limit, body=body, wordless=wordless)

    def ask(self, server: Server, job: ServerJob) -> list[Completion]:
        """A job's completions: by one request, or one by one where the server doesn't give several.

        Raises:
            TransientFault: a failure that may pass.
            ServerError: the server refuses the request, or saw another clip.
        """
        try:
            if job.n > 1 and server.many:
                said = self._together(server, job)
                if said is not None and said.counted:
                    return said.completions
                server.many = False  # from here on one by one, with the seeds that it would have counted up itself
            return [one for index in range(job.n) for one in self.request(server, job, index, 1)[0].completions]
        except Refused as refused:
            raise self.refusal(server, refused) from None

    def _together(self, server: Server, job: ServerJob) -> ServerCompletion | None:
        """All completions by one request; None where the server refuses that."""
        try:
            return self.request(server, job, 0, job.n)[0]
        except Refused as refused:
            if refused.status in (400, 422):  # if n isn't why, a single one will be refused as well
                return None
            raise

    def request(
        self, server: Server, job: ServerJob, index: int, n: int, **more: Any
    ) -> tuple[ServerCompletion, dict[str, Any]]:
        """Sends one request; what came, and the whole answer.

        Args:
            server: Who is asked.
            job: What is asked.
            index: Of the first completion within the job.
            n: Completions.
            **more: Further fields of the request.

        Raises:
            Refused: the server doesn't take it.
            TransientFault: a failure that may pass.
            ServerError: it saw another clip than was sent.
        """
        clip, request = job.videos.clip, job.request
        if request.think is False and (opening := server.openings.get(False)):
            raise ServerError(
                f"{server.address}: its chat template begins every answer with {opening.strip()}; ask it with reasoning"
            )
        video, seed = job.videos.of(server.form), first_seed(job.sampling.seed, request) + job.place[2] + index
        body = question(
            server.form,
            self.model or "",
            request,
            clip,
            video,
            job.sampling,
            family=self.family,
            n=n,
            seed=seed,
            textless=server.textless,
        )
        answer = self.call(server, "/v1/chat/completions", body | more)
        try:
            said = read(answer, n)
            template = server.template if request.system else server.bare_template
            check_tokens(said, request, clip, server.form, self.family, template)
            if opening := server.openings.get(request.think):
                said = replace(said, completions=[replace(one, text=opening + one.text) for one in said.completions])
        except ServerError as error:
            raise ServerError(f"{server.address}: {error}") from None
        return said, answer

    def refusal(self, server: Server, refused: Refused) -> ServerError:
        """The error that ends a run: what the server said, and what to do."""
        hint = {
            401: f"; set the key in {KEYS[0]}",
            403: f"; set the key in {KEYS[0]}",
            404: f"; is {self.model!r} the name of the model there?",
            413: f"; let the server take larger requests, or {advice('lower video.max_tokens')}",
        }.get(refused.status, "")
        if "mm_processor_kwargs" in str(refused) or "media_io_kwargs" in str(refused):
            hint = (
                "; trlt sends frames as they are, with their rate, which vLLM takes from trusted clients only: start vLLM "
                f"with {TRUST}"
            )
        return ServerError(f"{server.address}: refused a request with {refused}{hint}")
