"""MMVU: expert-level questions about videos of 27 subjects; the multi-choice part.

Origin: Zhao et al., "MMVU: Measuring Expert-Level Multi-Discipline Video Understanding" (2025). `validation.json` is a list of
`{id, video, youtube_url, question_type, metadata: {subject, ...}, question, choices: {A..E}, answer}`, where `video` is a URL
that ends in `videos/<Subject>/<n>.mp4`. The folder of videos may be `videos` or the one that holds it.

Splits: validation (1,000 questions; 625 are multi-choice, over 379 videos). Open-ended questions need a judge model: they are
left out, and counted. The test set's answers aren't public.
Protocol: accuracy, micro; by discipline and by subject. The official script (`utils/eval_utils.py`) has no rule of its own:
GPT-4o extracts the final answer, a single letter, and compares it. Without a judge, `official` reads the closing sentence that
the official prompt asks for (`Therefore, the final answer is: X`), else uses the shared parser. License: for research, by the
data set's page; the videos belong to their uploaders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, holding, watched, youtube_key
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch, Remote, on_github
from trlt.data.datasets._metrics import Item, benchmark_entry, official_option, official_text
from trlt.data.datasets._metrics import accuracy_values as values
from trlt.data.datasets._options import choose, flags
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample, Task

TITLE = "MMVU"
TASK: Task = "multi_choice"
LICENSE = "MMVU: research use; videos belong to their uploaders"
WHERE = "huggingface.co/datasets/yale-nlp/MMVU"
DOMAIN = "expert knowledge"
FETCH = Fetch(
    files=(
        Remote(
            on_github("yale-nlp/MMVU", "4d54223d912f498707c105ab645a921abce6e39a", "data/validation.json"),
            1_574_914,
            "sha256:f7c1ac4f9fa9770960b17ef16a3b6861f777ba04ae818dccd0ea6cda34d2213d",
        ),
    ),
    by_hand=("videos: hf download yale-nlp/MMVU --repo-type dataset --include 'videos/*' --local-dir {data}/mmvu",),
)
TEST_SPLIT = "validation"
FILES = {"validation": ("validation.json",)}

# The paper names the four disciplines. The released files don't say which subject is of which: this is lmms-eval's grouping.
DISCIPLINES = {
    "Science": (
        "Astronomy",
        "Biology",
        "Chemistry",
        "Electromagnetism",
        "Geography",
        "Materials Science",
        "Mechanics",
        "Modern Physics",
        "Neurobiology",
        "Thermodynamics",
    ),
    "Healthcare": ("Basic Medicine", "Clinical Medicine", "Dentistry", "Pharmacy", "Preventive Medicine"),
    "Humanities & Social Sciences": ("Art", "Economics", "History", "Law", "Literature", "Management"),
    "Engineering": (
        "Biomedical Engineering",
        "Civil Engineering",
        "Computer Science",
        "Electrical Engineering",
        "Electronics and Communication",
        "Mechanical Engineering",
    ),
}
_OF = {subject: discipline for discipline, subjects in DISCIPLINES.items() for subject in subjects}

FACTS = Facts(
    questions=625,
    videos=379,
    rule=(
        "A judge extracts the final letter; without one the closing sentence `the final answer is: X`, else the shared parser."
    ),
    published=("The authors ask for a chain of thought, at most 1,024 new tokens at temperature 1.0."),
    disagreements=(
        ("Figures over all 1,000 questions need a judge for the open ones; this is the multi-choice part."),
        ("Qwen2.5-VL-7B has 66.2 in VideoAuto-R1's README and 61.3 in the paper; Qwen3-VL-8B 69.9 there."),
        ("lmms-eval counts an output as right if the gold letter stands alone anywhere in it."),
    ),
)

EXAMPLE = Example(
    split="validation",
    purpose="bench",
    files={
        "validation.json": '[{"id": "validation_9001", "video": "https://example.org/main/videos/Modern_Physics/90.mp4", '
        '"youtube_url": "https://www.youtube.com/watch?v=aB3_dE-7hIj&t=12s", "question_type": "multiple-choice", '
        '"metadata": {"subject": "Modern Physics"}, "question": "Which effect is shown?", '
        '"choices": {"A": "Zeeman", "B": "Compton", "C": "Doppler", "D": "Hall", "E": ""}, "answer": "C"}]'
    },
    samples=(
        Sample(
            id="validation_9001",
            source="mmvu",
            split="validation",
            task=TASK,
            video="Modern_Physics/90.mp4",
            video_key="youtube:aB3_dE-7hIj",
            question="Which effect is shown?",
            options=("Zeeman", "Compton", "Doppler", "Hall"),
            answer="Doppler",
            answer_index=2,
            license=LICENSE,
            meta={"subject": "Modern Physics"},
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `validation.json`."""
    name = FILES[split][0]
    out = Collector(source="mmvu", split=split, task=TASK, license=LICENSE)
    for index, record in enumerate(holding(files, name, list, "a list of records")):
        _read(out, record, f"{name}[{index}]")
    return out.reading("open-ended questions need a judge model and are left out" if out.dropped["open_ended"] else "")


def _read(out: Collector, record: Any, where: str) -> None:
    name = get(record, "id", str, where)
    kind = get(record, "question_type", str, where)
    if kind != "multiple-choice":
        out.drop("open_ended" if kind == "open-ended" else "unknown_question_type", name)
        return
    options = _options(get(record, "choices", dict, where), where)
    chosen = choose(get(record, "answer", str, where), options)
    if chosen.place is None:
        out.drop(chosen.reason or "answer_not_an_option", name)
        return
    video = "/".join(get(record, "video", str, where).split("/")[-2:])
    out.keep(
        flags=flags(options),
        id=name,
        video=video,
        video_key=_key(str(record.get("youtube_url") or ""), video),
        question=clean(get(record, "question", str, where)),
        options=options,
        answer=options[chosen.place],
        answer_index=chosen.place,
        meta={"subject": get(get(record, "metadata", dict, where), "subject", str, where)},
    )


def _options(choices: dict[str, Any], where: str) -> tuple[str, ...]:
    """Texts of A, B, ...; empty ones at the end aren't options (open-ended records have nothing else)."""
    texts = [clean(get(choices, letter, str, f"{where}: choices")) for letter in LETTERS[: len(choices)]]
    while texts and not texts[-1]:
        texts.pop()
    return tuple(texts)


def _key(address: str, video: str) -> str:
    """Several files are cuts of one YouTube video: they share its key."""
    found = watched(address)
    return youtube_key(found) if found else f"mmvu:{video.rpartition('.')[0]}"


# The letter is a capital: "the final answer is a change of phase" names no option.
_CLOSING = re.compile(r"(?i:final answer is)\s*:?[\s$*(\"']*([A-Z])\b")


def official(item: Item) -> dict[str, float]:
    """Whether the final answer is right: the letter of the last closing sentence, else as the shared parser reads it.

    The official judge understands more phrasings, so this is a lower bound for outputs without tags.
    """
    options = item.sample.options or ()
    closing = _CLOSING.findall(official_text(item))
    said = LETTERS.index(closing[-1]) if closing else official_option(item)
    right = said is not None and said < len(options) and options[said] == item.sample.answer
    return {"acc": float(right)}


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """Accuracy in percent, micro; by discipline and by subject."""
    return benchmark_entry(
        items,
        paper=values,
        official=official,
        answered=lambda item: item.answer.option is not None,
        by={"discipline": lambda s: _OF.get(s.meta["subject"], "other"), "subject": lambda s: str(s.meta["subject"])},
    )
