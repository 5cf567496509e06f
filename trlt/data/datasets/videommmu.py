"""Video-MMMU: what is learnt from lectures of six disciplines, in three tracks: perception, comprehension, adaptation.

Origin: Hu et al., "Video-MMMU: Evaluating Knowledge Acquisition from Multi-Discipline Professional Videos" (2025).
`<track>_video.json` is `{Track: {"0": {id, link_selected, question, options, answer, question_type}, ...}}`; the hub has the
same rows in a parquet file a track. Videos are `<Discipline>/<id>.mp4`: each ends in a frame with the adaptation question's
picture, and the prompts say so. Frames are sampled from the first to the last one, which is therefore always shown.

Splits: test (300 questions a track over 300 videos). `question_only` asks the adaptation questions about
`question_only/<id>_image.mp4`, the picture alone; `all` is both, and gives `delta`.
Protocol: accuracy of each track, and `acc`, the mean of the three; `delta` is the share of what can't be answered without the
lecture that can be after it: (adaptation - question_only) / (100 - question_only). Official: for letters, forms such as `B.`,
`(B)` and `B `, of several the last; for the 20 open questions MMMU's rule, numbers rounded to two decimals. There, an empty
output leaves the denominator; here it is wrong. License: MIT (annotations); the videos belong to their owners.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, watched
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._metrics import Item, benchmark_entry, is_answered, official_text, paper_accuracy
from trlt.data.datasets._options import bare, choose, flags
from trlt.data.datasets._videommmu import golds_of, official_letter, official_open
from trlt.errors import DataError
from trlt.task.numbers import parse_number
from trlt.task.sample import Sample, Task

TITLE = "Video-MMMU"
TASK: Task = "multi_choice"
LICENSE = "MIT (annotations); videos belong to their owners"
WHERE = "github.com/EvolvingLMMs-Lab/VideoMMMU; videos at huggingface.co/datasets/lmms-lab/VideoMMMU"
DOMAIN = "lectures"
FETCH = Fetch(
    by_hand=(
        "annotation: git clone https://github.com/EvolvingLMMs-Lab/VideoMMMU, and take perception_video.json, "
        "comprehension_video.json and adaptation_video.json into {data}/videommmu",
        "videos: hf download lmms-lab/VideoMMMU --repo-type dataset --include '*.zip' --local-dir {data}/videommmu, then unzip "
        "them into {data}/videommmu/videos, so that there are Art, Business, Engineering, Humanities, Medicine and Science",
    ),
)
TEST_SPLIT = "test"
TRACKS = ("Perception", "Comprehension", "Adaptation")
QUESTION_ONLY = "QuestionOnly"
_FILES = tuple(f"{track.lower()}_video.{kind}" for kind in ("json", "parquet") for track in TRACKS)
_ADAPTATION = tuple(name for name in _FILES if name.startswith("adaptation"))
FILES = {"test": _FILES, "question_only": _ADAPTATION, "all": _FILES}
OPTIONAL = _FILES
"""Of each track either file is enough; the first is read if both are there."""
OFFICIAL_LOWER = (
    "Video-MMMU's rule looks for `B.`, `(B)` or a lone capital `B`; `**B**` and short answers in words are wrong by it"
)
FACTS = Facts(
    questions=900,
    videos=300,
    rule=(
        "Letters are looked for in the whole output as `X.`, `X:`, `(X)` or `X `, then by an option's text; of several, the "
        "last counts. Open answers follow MMMU's rule. The figure is the mean of three tracks of 300."
    ),
    published=(
        "lmms-eval of the authors: the question after an instruction for its track; the adaptation question's picture is the "
        "video's last frame, and the other two are told to ignore it. Frames are each model's."
    ),
    disagreements=(
        "Newer versions of lmms-eval read letters by a shared parser; VLMEvalKit adds a line `Answer:` of its own.",
        "VLMEvalKit and EasyVideoR1 give the picture after the video instead of as its last frame.",
        "Qwen2.5-VL-7B has 47.4 in Video-MMMU's README (58.3, 44.3, 39.7 by track) and 54.7 in VideoAuto-R1's.",
        "Qwen3-VL-8B has 61.0 in VideoAuto-R1's README; Qwen's own report is quoted with 65.3.",
        "A sampler that misses the last frame loses the question of the third track.",
    ),
)
DISCIPLINES = {
    "Art": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Engineering": (
        *("Agriculture", "Architecture_and_Engineering", "Computer_Science", "Electronics", "Energy_and_Power", "Materials"),
        "Mechanical_Engineering",
    ),
    "Humanities": ("History", "Literature", "Psychology", "Sociology"),
    "Medicine": (
        *("Basic_Medical_Science", "Clinical_Medicine", "Diagnostics_and_Laboratory_Medicine", "Pharmacy", "Public_Health"),
    ),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
}
_OF = {subject: discipline for discipline, subjects in DISCIPLINES.items() for subject in subjects}
_ID = re.compile(r"[^_]+_(.+)_\d+")

_TOLD = {
    "Perception": "The last frame of the video is a quiz for another question; leave it aside.",
    "Comprehension": "The last frame of the video is a quiz for another question; leave it aside.",
    "Adaptation": "Learn from the video, then answer about the picture in its last frame, which is <image 1>.",
    QUESTION_ONLY: "The video shows the picture of the question, which is <image 1>.",
}

_FIRST = Sample(
    id="Perception:validation_Biology_90",
    source="videommmu",
    split="test",
    task=TASK,
    video="Science/validation_Biology_90.mp4",
    video_key="youtube:aB3_dE-7hIj",
    question=f"{_TOLD['Perception']} Which cell is shown first?",
    options=("a nerve cell", "a blood cell"),
    answer="a blood cell",
    answer_index=1,
    license=LICENSE,
    meta={"track": "Perception", "subject": "Biology"},
)
_ROW = (
    '{"id": "validation_Biology_90", "link_selected": "https://www.youtube.com/watch?v=aB3_dE-7hIj", '
    '"question": "Which cell is  shown first?", "options": ["a nerve cell", "a blood cell"], "answer": "B"}'
)
EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "perception_video.json": f'{{"Perception": {{"0": {_ROW}}}}}',
        "comprehension_video.json": f'{{"Comprehension": {{"0": {_ROW}}}}}',
        "adaptation_video.json": '{"Adaptation": {"0": {"id": "validation_Biology_90", "link_selected": "", "question": '
        '"<image 1> How many are there?", "options": [], "answer": "12.5", "question_type": "open"}}}',
    },
    samples=(
        _FIRST,
        replace(
            _FIRST,
            id="Comprehension:validation_Biology_90",
            question=f"{_TOLD['Comprehension']} Which cell is shown first?",
            meta={"track": "Comprehension", "subject": "Biology"},
        ),
        replace(
            _FIRST,
            id="Adaptation:validation_Biology_90",
            video_key="videommmu:validation_Biology_90",
            question=f"{_TOLD['Adaptation']} <image 1> How many are there?",
            options=None,
            answer="12.5",
            answer_index=None,
            numeric=True,
            meta={"track": "Adaptation", "subject": "Biology", "golds": ["12.5"]},
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the parsed files, track by track; ids are `<Track>:<id>`."""
    out = Collector(source="videommmu", split=split, task=TASK, license=LICENSE)
    for track in TRACKS if split != "question_only" else ():
        for record, where in _records(files, track):
            _read(out, record, where, track)
    for record, where in _records(files, "Adaptation") if split != "test" else ():
        _read(out, record, where, QUESTION_ONLY)
    return out.reading()


def _records(files: Files, track: str) -> Iterator[tuple[Any, str]]:
    """The rows of a track's file, in its order, with their places.

    Raises:
        DataError: it isn't there, or holds something else.
    """
    wanted = [f"{track.lower()}_video.{kind}" for kind in ("json", "parquet")]
    name = next((name for name in wanted if name in files), None)
    if name is None:
        raise DataError(f"neither {' nor '.join(wanted)} is there: the track {track} is in one of them")
    rows = files[name]
    if isinstance(rows, dict):
        rows = get(rows, track, (dict, list), name)
    if isinstance(rows, dict):
        rows = list(rows.values())
    if not isinstance(rows, list):
        raise DataError(f"{name}: expected the rows of {track}, got {type(rows).__name__}; is this the official file?")
    for index, record in enumerate(rows):
        yield record, f"{name}[{index}]"


def _read(out: Collector, record: Any, where: str, track: str) -> None:
    name, answer = get(record, "id", str, where), get(record, "answer", str, where).strip()
    found = _ID.fullmatch(name)
    if found is None or found[1] not in _OF:
        out.drop("unknown_subject", f"{where}: {name}")
        return
    subject, key = found[1], watched(str(record.get("link_selected") or ""))
    said: dict[str, Any] = {
        "id": f"{track}:{name}",
        "video": f"question_only/{name}_image.mp4" if track == QUESTION_ONLY else f"{_OF[subject]}/{name}.mp4",
        "video_key": f"youtube:{key}" if key else f"videommmu:{name}",
        "question": f"{_TOLD[track]} {clean(get(record, 'question', str, where))}",
    }
    meta: dict[str, Any] = {"track": track, "subject": subject}
    listed = list(record["options"]) if record.get("options") is not None else []
    if not listed:
        golds = golds_of(answer)
        shown = golds[-1]
        out.keep(answer=shown, numeric=parse_number(shown) is not None, meta=meta | {"golds": golds}, **said)
        return
    options = tuple(bare(str(text), place) for place, text in enumerate(listed))
    chosen = choose(answer, options)
    if chosen.place is None:
        out.drop(chosen.reason or "answer_not_an_option", f"{where}: {answer!r}")
        return
    out.keep(flags=flags(options), options=options, answer=options[chosen.place], answer_index=chosen.place, meta=meta, **said)


def group(sample: Sample) -> str:
    """The track: `acc` is the mean of three."""
    return str(sample.meta["track"])


def values(item: Item) -> dict[str, float]:
    """Whether one question is right, from the tags; an open number is, where it rounds to a gold one's two decimals."""
    if not item.sample.numeric:
        return _named(item.sample, paper_accuracy(item))
    said = parse_number(item.answer.payload or "")
    golds = [number for gold in item.sample.meta["golds"] if (number := parse_number(gold)) is not None]
    return _named(item.sample, float(said is not None and round(said, 2) in [round(gold, 2) for gold in golds]))


def official(item: Item) -> dict[str, float]:
    """The same by the official rules, on the text inside the tags, or on the whole text without tags."""
    text, sample = official_text(item), item.sample
    if sample.options is None:
        return _named(sample, float(official_open(text, sample.meta["golds"])))
    # By letter: one row of the real files has its gold text twice, and only one of the two letters is right there.
    return _named(sample, float(official_letter(text, sample.options) == sample.answer_index))


def _named(sample: Sample, right: float) -> dict[str, float]:
    """The metrics that a question counts in."""
    track = sample.meta["track"]
    return {"question_only": right} if track == QUESTION_ONLY else {"acc": right, track.lower(): right}


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """The mean of the tracks, each track, and `delta` where there are question-only answers; by discipline and subject."""
    entry = benchmark_entry(
        items,
        paper=values,
        official=official,
        answered=is_answered,
        by={
            "discipline": lambda sample: _OF[str(sample.meta["subject"])],
            "subject": lambda sample: str(sample.meta["subject"]),
        },
        group=group,
    )
    for protocol in ("paper", "official"):
        found = entry[protocol]
        alone, after = found.get("question_only"), found.get("adaptation")
        if alone is not None and after is not None and alone < 100:
            found["delta"] = 100 * (after - alone) / (100 - alone)
    return entry
