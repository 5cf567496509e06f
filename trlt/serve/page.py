"""The page's side of the server: its files, videos that it sends, and questions whose answers are streamed to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trlt.engine.request_queue import PromptRequest as Prompt
from trlt.engine.sampling import Sampling
from trlt.errors import TrltError, VideoError
from trlt.recipe import Decoding
from trlt.rollout import request
from trlt.serve.guard import BodyTooLarge, EventStream, blocks, bounded_body, error_response, sent_event, stated_size
from trlt.serve.site import Site
from trlt.serve.uploads import Full, Unstorable, UploadTooLarge
from trlt.serve.worker import Busy, Event, Events, Failed, Finished, Piece, VideoQuestion, VideoRead, Waiting
from trlt.task.answer import free_answer
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import TASKS, Sample
from trlt.task.user_question import answer_values, question_sample

FREE = "free"
"""A question that is asked as it stands, without a template; the answer is read by nobody but the person."""
_ASK_BYTES = 1 << 16
_FILES = {
    "/": ("trlt.serve", "assets/index.html", "text/html"),
    "/page.js": ("trlt.serve", "assets/page.js", "text/javascript"),
    "/page.css": ("trlt.serve", "assets/page.css", "text/css"),
    "/icon.svg": ("trlt.serve", "assets/icon.svg", "image/svg+xml"),
    "/base.css": ("trlt.report.page", "page.css", "text/css"),
}


class PageQuestion(BaseModel):
    """What the page sends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    video: str
    task: Literal["grounding", "multi_choice", "grounded_qa", "free"]
    question: Annotated[str, Field(min_length=1, max_length=4000)]
    options: Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=26)] = []
    think: bool = True


class PageRoutes:
    """Everything that the page needs.

    Args:
        site: What requests are answered with.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[Route]:
        """Path by path."""
        return [
            *(Route(path, _file(*where)) for path, where in _FILES.items()),
            Route("/api/about", self._about),
            Route("/api/videos", self._upload, methods=["POST"]),
            Route("/api/videos/{id}", self._delete, methods=["DELETE"]),
            Route("/api/ask", self._ask, methods=["POST"]),
        ]

    async def _about(self, _: Request) -> Response:
        settings = self._site.settings
        values = {
            "model": settings.model,
            "max_bytes": settings.most_bytes,
            "keep_minutes": settings.keep_s / 60,
            "think": settings.decoding.think,
            "marks": _marks(settings.form),
        }
        return JSONResponse(values)

    async def _upload(self, request: Request) -> Response:
        most = self._site.settings.most_bytes
        too_large = error_response(413, f"the video is larger than {most / 1e6:g} MB; start the server with a larger --max-mb")
        if stated_size(request) > most:
            return too_large
        name = request.query_params.get("name", "video")[:200]
        try:
            upload = await self._site.take(blocks(request), name)
        except UploadTooLarge:
            return too_large
        except Full as error:
            return error_response(503, str(error))
        except Unstorable as error:
            return error_response(507, str(error))
        except VideoError as error:
            return error_response(400, str(error))
        self._site.uploads.release(upload)
        return JSONResponse({"id": upload.id})

    async def _delete(self, request: Request) -> Response:
        self._site.uploads.delete(request.path_params["id"])
        return Response(status_code=204)

    async def _ask(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return error_response(415, "a question comes as application/json")
        try:
            asked = PageQuestion.model_validate_json(await bounded_body(request, _ASK_BYTES))
        except BodyTooLarge:
            return error_response(413, f"a question has at most {_ASK_BYTES:,} bytes")
        except ValidationError as error:
            return error_response(400, _fault_of(error))
        upload = self._site.uploads.get(asked.video)
        if upload is None:
            return error_response(404, "the video is no longer here; choose it again")
        settings, form = self._site.settings.decoding, replace(self._site.settings.form, think=asked.think)
        try:
            sample = None
            if asked.task != FREE:
                sample = question_sample("video", asked.question, asked.task, asked.options)
            question = VideoQuestion(upload.path, upload.name, _prompt(asked, sample, form), _sampling(settings))
            events = self._site.worker.ask(question)
        except TrltError as error:
            return error_response(400, str(error))
        except Busy as busy:
            return error_response(503, str(busy), wait_s=busy.wait_s)
        with ExitStack() as held:
            held.enter_context(self._site.uploads.held(upload))
            held.callback(events.close)
            return EventStream(_lines(events, sample, form), held.pop_all())


def _marks(form: PromptForm) -> Mapping[str, Any]:
    """Marks around reasoning, span and answer, by task and by whether reasoning is asked for: to show what streams."""
    return {task: [form.words.layout(task, think=think).ends for think in (False, True)] for task in TASKS}


async def _lines(events: Events, sample: Sample | None, form: PromptForm) -> AsyncIterator[str]:
    async for event in events:
        yield sent_event(_values(event, sample, form))


def _values(event: Event, sample: Sample | None, form: PromptForm) -> Mapping[str, Any]:
    """An event as the page takes it."""
    match event:
        case Waiting(ahead):
            return {"kind": "waiting", "ahead": ahead}
        case VideoRead(clip):
            return {"kind": "seen", "duration": clip.duration, "frames": len(clip.frames), "tokens": clip.tokens}
        case Piece(_, text):
            return {"kind": "piece", "text": text}
        case Failed(message, _):
            return {"kind": "failed", "message": message}
        case Finished(reply, clip):
            [completion] = reply.completions
            text = completion.text
            answer = form.read(sample, text) if sample is not None else free_answer(text)
            values = answer_values(answer, text, finished=completion.finished)
            return {"kind": "done", "duration": clip.duration, **values}


def _prompt(asked: PageQuestion, sample: Sample | None, form: PromptForm) -> Prompt:
    return request(sample, form, 1) if sample is not None else Prompt(asked.question, form.words.system, asked.question)


def _sampling(settings: Decoding) -> Sampling:
    return Sampling(settings.temperature, settings.top_p, settings.max_new_tokens, settings.seed)


def _fault_of(error: ValidationError) -> str:
    """A question's fault: field and reason, without what was sent."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, fault["loc"]))
    return f"{where}: {fault['msg']}" if where else fault["msg"]


def _file(package: str, name: str, kind: str) -> Any:
    data = files(package).joinpath(name).read_bytes()

    async def give(_: Request) -> Response:
        return Response(data, media_type=kind)

    return give
