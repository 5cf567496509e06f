"""One answer as an HTML page that opens from disk: frames, the span on the video's length, reasoning and answer.

It holds no script, and its policy blocks all loading and scripts; every text is escaped.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trlt.files import write_text_atomic
from trlt.report.page.markup import Markup, element, footer, head, inline, join
from trlt.task.prompt import letter
from trlt.task.sample import Sample, Span
from trlt.task.user_question import stated_spans
from trlt.video.clip import Clip

FRAMES = 12
"""Maximum number of frames shown, evenly spaced over those that the model saw."""
WIDTH, HEIGHT = 600, 16
"""Size of the timeline, in units of its view box."""
_TASKS = {"multi_choice": "multiple choice", "grounding": "grounding", "grounded_qa": "grounded QA"}
_STYLE = """
header, main, footer { max-width: 948px; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)); gap: 8px; margin: 16px 0; }
.frames figure { margin: 0; padding: 0; background: none; border: 3px solid transparent; border-radius: 6px; }
.frames .in { border-color: var(--run-1); }
.frames img { display: block; width: 100%; height: auto; border-radius: 3px; }
.frames figcaption { color: var(--soft); font-size: 12px; font-weight: 400; padding: 2px 4px; }
.length { display: block; width: 100%; height: 22px; border-radius: 5px; }
.length .all { fill: var(--wash); } .length .span { fill: var(--run-1); }
.ends { display: flex; justify-content: space-between; color: var(--soft); font-size: 12px; }
.said { font-size: 18px; font-weight: 600; overflow-wrap: anywhere; unicode-bidi: isolate; }
.thought, .raw { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
.thought { color: var(--soft); }
"""


def write_answer_page(path: Path, sample: Sample, values: Mapping[str, Any], clip: Clip, model: str) -> None:
    """Writes the page in one step.

    Args:
        path: The HTML file.
        sample: The question.
        values: The answer, from `user_question.answer_values`.
        clip: What the model saw.
        model: Its name.
    """
    facts = f"{sample.video} · {clip.duration:.1f} s · {_TASKS[sample.task]} · {model}"
    top = element("header", element("h1", sample.question, dir="auto"), element("p", facts, class_="note"))
    main = element("main", *_answer(sample, values), *_seen(stated_spans(values), clip))
    start = head(f"{sample.video} - trlt infer", inline("page.css") + _STYLE)
    write_text_atomic(path, join([start, top, main, footer(), Markup("</body></html>\n")]))


def _answer(sample: Sample, values: Mapping[str, Any]) -> list[Markup]:
    parts = []
    if values["option"] is not None and sample.options:
        said = f"{letter(values['option'])}. {sample.options[values['option']]}"
    else:
        said = values["answer"] or "No answer in the form that was asked for."
    parts.append(element("p", said, class_="said", dir="auto"))
    if sample.options:
        parts.append(
            element("ul", *(element("li", f"{letter(i)}. {text}") for i, text in enumerate(sample.options)), class_="options")
        )
    if values["reasoning"]:
        parts += [element("h2", "Reasoning"), element("p", values["reasoning"], class_="thought", dir="auto")]
    if not values["finished"]:
        parts.append(element("p", "Cut off at the token limit.", class_="note"))
    parts.append(
        element("details", element("summary", "All that the model wrote"), element("pre", values["text"], class_="raw"))
    )
    return parts


def _seen(spans: Sequence[Span], clip: Clip) -> list[Markup]:
    """The timeline, and frames with their seconds; those in a span are marked."""
    shown = []
    for place in np.unique(np.linspace(0, len(clip.frames) - 1, FRAMES).round().astype(int)):
        at = float(clip.times[place])
        data = base64.b64encode(_jpeg(clip.frames[place])).decode()
        inside = any(span.start <= at <= span.end for span in spans)
        picture = Markup(f'<img src="data:image/jpeg;base64,{data}" alt="frame at {at:.1f} s">')
        caption = element("figcaption", f"{at:.1f} s" + (", in the span" if inside else ""))
        shown.append(element("figure", picture, caption, class_="in" if inside else None))
    return [element("h2", "Video"), _length(spans, clip.duration), element("div", *shown, class_="frames")]


def _length(spans: Sequence[Span], duration: float) -> Markup:
    parts = [element("rect", x=0, y=0, width=WIDTH, height=16, class_="all")]
    said = ", ".join(f"{span.start:.1f} to {span.end:.1f} s" for span in spans) or "no span"
    for span in spans:
        start, end = (min(max(one / duration, 0.0), 1.0) * WIDTH for one in span)
        wide = max(end - start, 2.0)
        parts.append(element("rect", x=f"{min(start, WIDTH - wide):.1f}", y=0, width=f"{wide:.1f}", height=16, class_="span"))
    label = f"{said} of {duration:.1f} s"
    shape = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "preserveAspectRatio": "none"}
    picture = element("svg", *parts, **shape, role="img", aria_label=label, class_="length")
    ends = element("div", element("span", "0 s"), element("span", f"{duration:.1f} s"), class_="ends")
    return join([element("p", said), picture, ends])


def _jpeg(frame_CHW: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame_CHW.transpose(1, 2, 0)).save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()
