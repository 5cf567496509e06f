"""TempCompass: action, direction, speed, order and attribute change, each in four kinds of questions about 410 short videos.

Origin: Liu et al., "TempCompass: Do Video LLMs Really Understand Videos?" (2024). `multi-choice.json`, `yes_no.json`,
`caption_matching.json` and `captioning.json` are `{video: {dimension: [{question, answer}, ...]}}`; options are inside the
question, one per line (`A. text`; `Option 1: text`, `Sentence A: text` or `Caption A: text`). Videos are `videos/<id>.mp4`.

Splits: test is the three tasks that need no judge model (1,580 + 2,453 + 1,503 = 5,536). captioning (2,004) is left out: it
needs a judge to answer the multi-choice question from the model's caption. The split `captioning` reads that question (a
record's own `mc_question` and `mc_answer` where it has them, as the hub's rows do; else, as the official script does, the first
of that video and dimension in `multi-choice.json`), and keeps the model's prompt in `meta.caption_prompt`. `all` (7,540) is
both. To score captions: `trlt eval --bench tempcompass --split captioning --samples` lists caption prompts and the judge's
questions; the judge's answers are predictions for that split, or, with those for the other tasks, for the split `all`.
Protocol: accuracy, micro over all questions of the split; by task and by dimension. Official rules (`eval_<task>.py`, without
their judge): see `official`. Our prompt lists every task's options under letters, so a letter counts for yes/no and matching
too. License: for research, by the repository; the videos belong to their owners.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, holding
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch, Remote, hub, on_github
from trlt.data.datasets._metrics import Item, benchmark_entry, mean_values, official_text, paper_accuracy
from trlt.data.datasets._options import SplitQuestion, choose, flags, split_options
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample, Task

TITLE = "TempCompass"
TASK: Task = "multi_choice"
LICENSE = "TempCompass: research use; videos belong to their owners"
WHERE = "github.com/llyx97/TempCompass (questions/); videos at huggingface.co/datasets/lmms-lab/TempCompass"
DOMAIN = "short clips"
_QUESTIONS = ("llyx97/TempCompass", "e1b463166400633e6061962d890a9ae85db29f70")
FETCH = Fetch(
    files=(
        Remote(
            on_github(*_QUESTIONS, "questions/multi-choice.json"),
            441_771,
            "sha256:c5bbdd249bbeca2d8fc70adec639509d8b9cb6d0bb3edfe4b838477a5efc3bbd",
        ),
        Remote(
            on_github(*_QUESTIONS, "questions/yes_no.json"),
            405_703,
            "sha256:f10910c595a30aff3104c48b9cddcd88e71d512ba14dd7eff77d30e39807768d",
        ),
        Remote(
            on_github(*_QUESTIONS, "questions/caption_matching.json"),
            524_731,
            "sha256:ef8038edfbcd713e14a361cb617bc4fe815e3cafffe003cc024bcac86c9d764d",
        ),
        Remote(
            on_github(*_QUESTIONS, "questions/captioning.json"),
            1_500_847,
            "sha256:49815114d9753ab26a63d410892950fb4577b4def096e7e4e523ac91fb98f1eb",
        ),
    ),
    videos=(
        Remote(
            hub("lmms-lab/TempCompass", "c8a67d88a3bc6fd4b2f9ae2f9e112668fbe05722", "tempcompass_videos.zip"),
            418_000_000,
            to="videos",
            unpack=True,
        ),
    ),
)
TEST_SPLIT = "test"
OFFICIAL_LOWER = (
    "TempCompass's rule for multiple choice wants the letter, alone or before a dot or bracket; words are wrong by it"
)
CAPTIONING = "captioning"
CAPTIONS = "captioning.json"
FILES = {
    "test": ("multi-choice.json", "yes_no.json", "caption_matching.json"),
    "captioning": ("captioning.json", "multi-choice.json"),
    "all": ("multi-choice.json", "yes_no.json", "caption_matching.json", "captioning.json"),
}

_FIRST = Sample(
    id="multi-choice:9000001:order:0",
    source="tempcompass",
    split="test",
    task=TASK,
    video="9000001.mp4",
    video_key="tempcompass:9000001",
    question="What comes first?",
    options=("a jump", "a bow", "a song"),
    answer="a song",
    answer_index=2,
    license=LICENSE,
    meta={"task": "multi-choice", "dim": "order"},
)
FACTS = Facts(
    questions=5_536,
    videos=410,
    rule=("Letters, `yes` and `no`, or the matching line, by a rule per task; a judge where the rule reads nothing."),
    published=("The authors' script for Qwen2-VL takes 1 frame per second of at most 720 x 720 pixels and 128 new tokens."),
    disagreements=(
        ("The leaderboard is over 7,540 questions with captioning, which needs a judge; this is without."),
        ("Qwen2.5-VL-7B has 71.7 by Qwen's card and 70.9 in the paper."),
    ),
)

EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "multi-choice.json": '{"9000001": {"order": [{"question": "What comes first?\\nA. a jump\\nB. a bow\\nC. a song", '
        '"answer": "C. a song"}]}}',
        "yes_no.json": '{"9000001": {"speed": [{"question": "Does the dancer slow down?", "answer": "no"}]}}',
        "caption_matching.json": '{"9000001": {"order": [{"question": "Which description is a more suitable match for the '
        'video?\\nOption 1: The dancer bows.\\nOption 2: The dancer sings.", "answer": "Option 2: The dancer sings."}]}}',
    },
    samples=(
        _FIRST,
        replace(
            _FIRST,
            id="yes_no:9000001:speed:0",
            question="Does the dancer slow down?",
            options=("yes", "no"),
            answer="no",
            answer_index=1,
            meta={"task": "yes_no", "dim": "speed"},
        ),
        replace(
            _FIRST,
            id="caption_matching:9000001:order:0",
            question="Which description is a more suitable match for the video?",
            options=("The dancer bows.", "The dancer sings."),
            answer="The dancer sings.",
            answer_index=1,
            meta={"task": "caption_matching", "dim": "order", "labels": ["Option 1", "Option 2"]},
        ),
    ),
)


class _TempCompassRecord(NamedTuple):
    """One question of a file, and its place there."""

    video: str
    dim: str
    place: int
    content: Any
    where: str


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the parsed files of a split, task by task."""
    out = Collector(source="tempcompass", split=split, task=TASK, license=LICENSE)
    for name in FILES[split] if split != CAPTIONING else ():
        for record in _records(files, name) if name != CAPTIONS else ():
            question, answer = (get(record.content, key, str, record.where) for key in ("question", "answer"))
            _keep(out, record, name.removesuffix(".json"), question, answer)
    if CAPTIONS not in FILES[split]:
        return out.reading("captioning (2,004 questions) needs a judge model and is left out")
    first = {(r.video, r.dim): r.content for r in _records(files, "multi-choice.json") if r.place == 0}
    for record in _records(files, CAPTIONS):
        _captioning(out, record, first.get((record.video, record.dim)))
    return out.reading("captioning: a judge answers these questions from a caption, which meta.caption_prompt asks for")


def _records(files: Files, name: str) -> Iterator[_TempCompassRecord]:
    """The questions of a file, in its order."""
    videos = holding(files, name, dict, "an object of videos")
    for video in videos:
        dims = get(videos, video, dict, name)
        for dim in dims:
            for place, content in enumerate(get(dims, dim, list, f"{name}: {video}")):
                yield _TempCompassRecord(video, dim, place, content, f"{name}: {video}: {dim}[{place}]")


def _captioning(out: Collector, record: _TempCompassRecord, first: Any) -> None:
    """A question for the judge; the model's prompt stays unchanged in `meta`, since its line breaks matter."""
    prompt = get(record.content, "question", str, record.where)
    own = "mc_question" in record.content
    if not own and first is None:
        out.drop("no_mc_question", record.where)
        return
    source, keys = (record.content, ("mc_question", "mc_answer")) if own else (first, ("question", "answer"))
    question, answer = (get(source, key, str, record.where) for key in keys)
    _keep(out, record, CAPTIONING, question, answer, caption_prompt=prompt)


def _keep(out: Collector, record: _TempCompassRecord, task: str, question: str, answer: str, **meta: Any) -> None:
    asked, labels = _asked(task, question)
    chosen = choose(answer.partition(": ")[2] if labels else answer, asked.options)
    if chosen.place is None:
        out.drop(chosen.reason or "answer_not_an_option", f"{record.where}: {answer}")
        return
    out.keep(
        flags=flags(asked.options),
        id=f"{task}:{record.video}:{record.dim}:{record.place}",
        video=f"{record.video}.mp4",
        video_key=f"tempcompass:{record.video}",
        question=asked.question,
        options=asked.options,
        answer=asked.options[chosen.place],
        answer_index=chosen.place,
        meta={"task": task, "dim": record.dim} | ({"labels": labels} if labels else {}) | meta,
    )


def _asked(task: str, text: str) -> tuple[SplitQuestion, list[str]]:
    """A question apart from its options, and how matching labels them (`Sentence A`)."""
    if task == "yes_no":
        return SplitQuestion(clean(text), ("yes", "no")), []
    if task != "caption_matching":
        return split_options(text), []
    question, _, rest = text.partition("\n")
    pairs = [line.strip().partition(": ") for line in rest.splitlines()]
    labels = [label for label, _, _ in pairs]
    # Without its label an option can't be scored: such a question has none, and is dropped.
    return SplitQuestion(clean(question), tuple(clean(option) for _, _, option in pairs) if all(labels) else ()), labels


def values(item: Item) -> dict[str, float]:
    """Whether one question is right, from the tags; under the name of each metric that it belongs to."""
    return _named(item.sample, paper_accuracy(item))


def official(item: Item) -> dict[str, float]:
    """Whether one question is right by its task's rule, on the text inside the tags or the whole text.

    - multi-choice: the gold letter alone, or followed by `.` or `)`; the exact option line is a case of it.
    - captioning: the same rule, for the judge's answer.
    - yes_no: the text starts with the gold word, in any case.
    - caption_matching: the option's line, its sentence (also after `) `), its label (`Option 1`) or its short form.
    """
    # The official scripts strip outputs and take out this end mark.
    text = official_text(item).replace("</s>", "").strip()
    task = item.sample.meta["task"]
    rule = {"yes_no": _yes_no, "caption_matching": _matching}.get(task, _multi_choice)
    return _named(item.sample, float(rule(text, item.sample)))


def _multi_choice(text: str, sample: Sample) -> bool:
    letter = LETTERS[sample.answer_index or 0]
    return text == letter or text.startswith((f"{letter}.", f"{letter})"))


def _yes_no(text: str, sample: Sample) -> bool:
    return text.lower().startswith(str(sample.answer)) or _short(text) == LETTERS[sample.answer_index or 0]


def _matching(text: str, sample: Sample) -> bool:
    place = sample.answer_index or 0
    label, sentence = sample.meta["labels"][place], sample.answer
    if text in (f"{label}: {sentence}", sentence) or text.partition(") ")[2] == sentence:
        return True
    # Options 1 and 2 stand under A and B in our prompt, which are no labels of theirs: no answer means two things.
    return _short(text) in (label, label.split()[-1], LETTERS[place])


def _short(text: str) -> str:
    return text.replace(".", "")


def _named(sample: Sample, right: float) -> dict[str, float]:
    """The metrics that a question counts in."""
    task = sample.meta["task"]
    whole = {} if task == CAPTIONING else {"acc_micro_without_captioning": right}
    return {"acc": right, f"acc_{task}": right, **whole, "acc_micro": right}


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """Accuracy in percent over all questions of the split, and of each task; by task and by dimension.

    `acc_micro` is the leaderboard's average over all four tasks, so it is given only if captioning was judged.
    """
    entry = benchmark_entry(items, paper=values, official=official, answered=lambda item: item.answer.option is not None)
    if all(item.sample.meta["task"] != CAPTIONING for item in items):
        del entry["paper"]["acc_micro"], entry["official"]["acc_micro"]
    return entry | {"by": {"task": _by(items, "task"), "dim": _by(items, "dim")}}


def _by(items: Sequence[Item], key: str) -> dict[str, dict[str, float]]:
    """Accuracy of each part, with the official one beside."""
    parts: dict[str, list[Item]] = {}
    for item in items:
        parts.setdefault(str(item.sample.meta[key]), []).append(item)
    return {
        part: {
            "n": len(parts[part]),
            "acc": mean_values(parts[part], values)["acc"],
            "official_acc": mean_values(parts[part], official)["acc"],
        }
        for part in sorted(parts)
    }
