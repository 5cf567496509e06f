"""Counts of a handful of samples, by hand."""

from __future__ import annotations

from trlt.data.preparation import SampleStatistics
from trlt.report import prepared_markdown, statistics_view
from trlt.task.sample import Sample, Span

SAMPLES = [
    Sample("1", "charades", "train", "grounding", "a.mp4", "q", "charades:A", duration=20.0, spans=(Span(4, 8),)),
    Sample("2", "charades", "train", "grounding", "a.mp4", "r", "charades:A", duration=20.0, spans=(Span(0, 20), Span(18, 20))),
    Sample("3", "didemo", "train", "grounding", "b.mp4", "s", "flickr:1", spans=(Span(5, 10),)),
    Sample(
        "4",
        "nextqa",
        "train",
        "multi_choice",
        "1/1.mp4",
        "t",
        "flickr:1",
        duration=90.0,
        options=("x", "y", "z"),
        answer="y",
        answer_index=1,
    ),
]


def test_counts() -> None:
    statistics = SampleStatistics()
    statistics.add(SAMPLES[:2])
    statistics.add(SAMPLES[2:])
    found = statistics.to_json()
    assert (found["samples"], found["clips"]) == (4, 3)
    assert found["sources"] == {"charades": 2, "didemo": 1, "nextqa": 1}
    assert found["tasks"] == {"grounding": 3, "multi_choice": 1}
    assert found["domains"] == {"daily life indoors": 2, "personal videos": 2}
    assert found["options"] == {"3": 1} and found["spans_a_sample"] == {"1": 2, "2": 1}
    assert found["shared_footage"] == {"didemo + nextqa": 1}
    assert found["duration_s"]["10 to 30 s"] == 2 and found["duration_s"]["60 to 120 s"] == 1
    assert found["duration_s"]["unknown"] == 1 and sum(found["duration_s"].values()) == 4
    assert found["mean_duration_s"] == round((20 + 20 + 90) / 3, 2)
    # Lengths 4, 20, 2 and 5 s; shares and middles of those whose video's length is known.
    assert {k: v for k, v in found["span_length_s"].items() if v} == {"2 to 5 s": 2, "5 to 10 s": 1, "20 to 30 s": 1}
    assert {k: v for k, v in found["span_share_of_video"].items() if v} == {"10 to 20%": 1, "20 to 30%": 1, "90 to 100%": 1}
    assert {k: v for k, v in found["span_middle_in_video"].items() if v} == {"30 to 40%": 1, "50 to 60%": 1, "90 to 100%": 1}


def test_nothing_counts_nothing() -> None:
    found = SampleStatistics().to_json()
    assert found["samples"] == 0 and found["mean_duration_s"] is None
    assert statistics_view(found) is not None


def test_a_report_escapes_what_it_shows() -> None:
    statistics = SampleStatistics()
    statistics.add(SAMPLES)
    entry = {
        "dataset": "charades",
        "split": "train",
        "task": "grounding",
        "license": "x | y",
        "read": 3,
        "kept": 2,
        "repaired": {},
        "dropped": {"reversed": 1},
        "examples": {"reversed": ["<script>alert(1)</script> | [x](y) *b*"]},
        "paper": 12_408,
        "notes": ["<b>note</b>"],
    }
    manifest = {"samples": 4, "trlt": "0", "sources": [entry], "against": None, "statistics": statistics.to_json()}
    text = prepared_markdown(manifest)
    assert "12,408" in text and "| reversed | 1 |" in text
    assert "<script>" not in text and "&lt;script&gt;" in text and "\\| \\[x\\](y) \\*b\\*" in text and "<b>" not in text
