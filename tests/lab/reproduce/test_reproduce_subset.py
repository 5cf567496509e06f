"""Which samples a probe of the plan asks, and whose videos they are shown with."""

from __future__ import annotations

import pytest

from trlt.errors import DataError
from trlt.lab.reproduce.subset import drawn, swapped
from trlt.task.sample import Sample, Span


def choice(number, video, **more):
    return Sample(
        **{"id": f"s{number}", "source": "a", "split": "train", "task": "multi_choice", "video": video, "question": "what?"},
        **{"options": ("x", "y"), "answer": "x", "answer_index": 0, **more},
    )


def event(number):
    return Sample(
        id=f"g{number}", source="a", split="train", task="grounding", video="v.mp4", question="when?", spans=(Span(0, 1),)
    )


def test_a_draw_keeps_order_and_depends_on_the_seed_alone():
    samples = [choice(number, f"{number}.mp4") for number in range(40)] + [event(0)]
    kept = drawn(samples, ["multi_choice"], 10, seed=1)
    numbers = [int(sample.id[1:]) for sample in kept]
    assert len(kept) == 10 and numbers == sorted(numbers)
    assert {sample.id for sample in drawn(samples[::-1], ["multi_choice"], 10, seed=1)} == {sample.id for sample in kept}
    assert {sample.id for sample in drawn(samples, ["multi_choice"], 10, seed=2)} != {sample.id for sample in kept}
    assert drawn(samples, [], None, 0) == samples and drawn(samples, ["grounding"], 5, 0) == [event(0)]


@pytest.mark.parametrize("videos", [2, 3, 10])
def test_every_sample_is_shown_another_video(videos):
    samples = [
        choice(number, f"{number % videos}.mp4", video_key=f"k:{number % videos}", duration=5.0 + number % videos)
        for number in range(3 * videos)
    ]
    shown = swapped(samples, seed=4)
    pairs = {(old.video, new.video) for old, new in zip(samples, shown, strict=True)}
    assert all(old != new for old, new in pairs) and len(pairs) == videos, "samples of one video stay together"
    assert {new for _, new in pairs} == {sample.video for sample in samples}, "each video is shown to some"
    for old, new in zip(samples, shown, strict=True):
        assert (new.id, new.question, new.options, new.answer) == (old.id, old.question, old.options, old.answer)
        number = new.video.partition(".")[0]
        assert new.video_key == f"k:{number}" and new.duration == 5.0 + int(number)
    assert swapped(samples, seed=4) == shown
    assert videos == 2 or any(swapped(samples, seed=seed) != shown for seed in range(5, 10))


def test_a_clip_comes_with_its_video():
    samples = [choice(0, "a.mp4", clip=Span(1, 3), duration=2.0), choice(1, "b.mp4")]
    one, other = swapped(samples, 0)
    assert (one.video, one.clip, one.duration) == ("b.mp4", None, None)
    assert (other.video, other.clip, other.duration) == ("a.mp4", Span(1, 3), 2.0)


def test_footage_under_two_names_is_one_video():
    samples = [choice(0, "a.mp4", video_key="k:1"), choice(1, "copy.mp4", video_key="k:1")]
    with pytest.raises(DataError, match="all samples are about one video"):
        swapped(samples, 0)


def test_spans_are_of_their_own_video():
    with pytest.raises(DataError, match="sample 'g0': has spans of its own video"):
        swapped([choice(0, "a.mp4"), event(0)], 0)
