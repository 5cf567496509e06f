"""The same question on the same footage, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trlt.data.preparation import KeptQuestions
from trlt.task.sample import Sample, Span

CHOICE = Sample(
    "n:1",
    "nextqa",
    "train",
    "multi_choice",
    "0042/7.mp4",
    "why did the girl open the box",
    video_key="flickr:7",
    options=("hungry", "to find the puppy"),
    answer="to find the puppy",
    answer_index=1,
)
MOMENT = Sample("d:1", "didemo", "train", "grounding", "a.mp4", "a dog jumps", video_key="flickr:9", spans=(Span(10, 20),))


@pytest.mark.parametrize(
    ("change", "holder"),
    [
        ({"id": "n:2"}, "nextqa"),
        ({"id": "n:2", "question": "Why did the girl open the box?"}, "nextqa"),
        (
            {
                "source": "llava_video",
                "video": "x/7.mp4",
                "answer": "To find the puppy.",
                "options": ("a", "To find the puppy."),
            },
            "nextqa",
        ),
        ({"id": "n:2", "answer": "hungry", "answer_index": 0}, None),
        ({"id": "n:2", "question": "why did the boy open the box"}, None),
        ({"id": "n:2", "video_key": "flickr:8"}, None),
    ],
)
def test_questions(change: dict, holder: str | None) -> None:
    seen = KeptQuestions()
    assert seen.source_of(CHOICE) is None
    assert seen.source_of(replace(CHOICE, **change)) == holder


@pytest.mark.parametrize(
    ("source", "span", "holder"),
    [
        ("didemo", Span(10, 20), "didemo"),
        ("didemo", Span(10, 19), None),  # within a source, another moment is another sample
        ("vtg_it", Span(10, 18.3), "didemo"),  # the same, clamped to the video's length: tIoU 0.83
        ("vtg_it", Span(15, 25), None),  # tIoU 1/3
    ],
)
def test_moments(source: str, span: Span, holder: str | None) -> None:
    seen = KeptQuestions()
    assert seen.source_of(MOMENT) is None
    assert seen.source_of(replace(MOMENT, id="other", source=source, spans=(span,))) == holder


def test_moments_are_compared_in_seconds_of_the_file() -> None:
    seen = KeptQuestions()
    assert seen.source_of(MOMENT) is None
    cut = replace(MOMENT, id="v:1", source="vtg_it", clip=Span(5, 40), spans=(Span(5, 15),))
    assert seen.source_of(cut) == "didemo"
    assert seen.source_of(replace(cut, id="v:2", clip=Span(0, 40))) is None


def test_another_task_is_another_sample() -> None:
    seen = KeptQuestions()
    assert seen.source_of(CHOICE) is None
    grounded = replace(CHOICE, id="g:1", source="nextgqa", task="grounded_qa", spans=(Span(1, 2),))
    assert seen.source_of(grounded) is None


def test_without_a_key_the_path_counts() -> None:
    seen = KeptQuestions()
    assert seen.source_of(replace(CHOICE, video_key="")) is None
    assert seen.source_of(replace(CHOICE, video_key="", id="n:2")) == "nextqa"
    assert seen.source_of(replace(CHOICE, video_key="", id="n:3", video="other.mp4")) is None
