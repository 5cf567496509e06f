"""Video-MME: 2,700 multi-choice questions about 900 YouTube videos from 11 seconds to an hour; with or without subtitles.

Origin: Fu et al., "Video-MME: The First-Ever Comprehensive Evaluation Benchmark of Multi-modal LLMs in Video Analysis" (2024).
`videomme/test-00000-of-00001.parquet` has rows of `video_id, duration (short|medium|long), domain, sub_category, url, videoID,
question_id, task_type, question, options ["A. ...", ...], answer (a letter)`. `test.json`, the same rows as a JSON list, is
read if the parquet file is missing. Videos are `data/<videoID>.{mp4,MP4,mkv}`; 744 of them have subtitles,
`subtitle/<videoID>.srt` (`--subtitles`).

Splits: test (900 questions of each length).
Protocol: accuracy, micro; by length, domain, task type and sub-category. Official check: phrases such as "The answer is" are
removed, then the first capital A to D anywhere in the text is the answer. "Because ..." reads as B, which is why tags come
first. There, an output without any such letter leaves the denominator; here it is wrong. License: academic research only; the
videos belong to their owners.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, holding, youtube_key
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch, Remote, hub
from trlt.data.datasets._lead_ins import first_capital
from trlt.data.datasets._metrics import Item, benchmark_entry, official_text
from trlt.data.datasets._metrics import accuracy_values as values
from trlt.data.datasets._options import bare, choose, flags
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample, Task

TITLE = "Video-MME"
TASK: Task = "multi_choice"
LICENSE = "Video-MME: academic research only"
WHERE = "huggingface.co/datasets/lmms-lab/Video-MME"
DOMAIN = "mixed"
FETCH = Fetch(
    files=(
        Remote(
            hub("lmms-lab/Video-MME", "3df3f52a64ec0fd8fa42a2fa7375e9628af1ced4", "videomme/test-00000-of-00001.parquet"),
            405_000,
        ),
    ),
    by_hand=(
        "videos: hf download lmms-lab/Video-MME --repo-type dataset --include 'videos_chunked_*.zip' --local-dir "
        "{data}/videomme (101 GB), then unzip them there, into {data}/videomme/data",
    ),
    videos_at="videomme/data",
)
TEST_SPLIT = "test"
FILES = {"test": ("test-00000-of-00001.parquet", "test.json")}
OFFICIAL_LOWER = "Video-MME's rule takes the first capital A to D for the answer; an answer in words is wrong by it"
OPTIONAL = FILES["test"]
"""Either is enough; the parquet file is read if both are there."""
GROUPS = ("duration", "domain", "task_type", "sub_category")

FACTS = Facts(
    questions=2_700,
    videos=900,
    rule=("Lead-ins are cut, then the first capital letter A to D anywhere counts: `Because` is B."),
    published=("Frames are each model's; figures with and without subtitles are told apart, and this is without."),
    disagreements=(
        ("Qwen2.5-VL-7B has 65.1 by Qwen's card, 66.0 in VideoAuto-R1's README and 56.1 in the paper at 2,048 tokens."),
        ("Qwen3-VL-8B has 71.4 by Qwen's report and 72.5 in VideoAuto-R1's README."),
        ("lmms-eval's prompt speaks of subtitles where none are shown, and its newer parser ranks forms of letters."),
    ),
)

EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "test.json": '[{"video_id": "901", "duration": "short", "domain": "Knowledge", "sub_category": "Astronomy", '
        '"url": "https://www.youtube.com/watch?v=v_B3_dE-7hI", "videoID": "v_B3_dE-7hI", "question_id": "901-1", '
        '"task_type": "Counting Problem", "question": "How many moons are drawn?", '
        '"options": ["A. One.", "B. Two.", "C. Three.", "D. Four."], "answer": "B"}]'
    },
    samples=(
        Sample(
            id="901-1",
            source="videomme",
            split="test",
            task=TASK,
            video="v_B3_dE-7hI.mp4",
            video_key="youtube:v_B3_dE-7hI",
            question="How many moons are drawn?",
            options=("One.", "Two.", "Three.", "Four."),
            answer="Two.",
            answer_index=1,
            license=LICENSE,
            meta={
                "duration": "short",
                "domain": "Knowledge",
                "task_type": "Counting Problem",
                "sub_category": "Astronomy",
                "subtitle_file": {"path": "v_B3_dE-7hI.srt", "offset_s": 0.0},
            },
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the parsed rows of either file."""
    name = next(name for name in FILES[split] if name in files)
    out = Collector(source="videomme", split=split, task=TASK, license=LICENSE)
    for index, row in enumerate(holding(files, name, list, "a list of rows")):
        _read(out, row, f"{name}[{index}]")
    return out.reading()


def _read(out: Collector, row: Any, where: str) -> None:
    name, video = get(row, "question_id", str, where), get(row, "videoID", str, where)
    options = tuple(bare(str(text), place) for place, text in enumerate(get(row, "options", list, where)))
    chosen = choose(get(row, "answer", str, where), options)
    if chosen.place is None:
        out.drop(chosen.reason or "answer_not_an_option", name)
        return
    out.keep(
        flags=flags(options),
        id=name,
        video=f"{video}.mp4",
        video_key=youtube_key(video),  # an id may itself start with `v_`; all eleven characters count
        question=clean(get(row, "question", str, where)),
        options=options,
        answer=options[chosen.place],
        answer_index=chosen.place,
        meta={group: get(row, group, str, where) for group in GROUPS}
        | {"subtitle_file": {"path": f"{video}.srt", "offset_s": 0.0}},
    )


# In this order, wherever they stand. The official list holds more, but for want of commas "The best option is", "The correct
# option is", "Best answer:" and "Best option:" are glued into two that never match: "Best answer: C" reads as B there.
_PHRASES = ("The best answer is", "The correct answer is", "The answer is", "The answer")


def official(item: Item) -> dict[str, float]:
    """Whether the first capital A to D is the gold letter, as `extract_characters_regex` of the official script finds it."""
    said = first_capital(official_text(item), _PHRASES, "ABCD")
    return {"acc": float(said == LETTERS[item.sample.answer_index or 0])}


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """Accuracy in percent, micro; by length, domain, task type and sub-category."""
    return benchmark_entry(
        items,
        paper=values,
        official=official,
        answered=lambda item: item.answer.option is not None,
        by={group: _part(group) for group in GROUPS},
    )


def _part(group: str) -> Callable[[Sample], str]:
    return lambda sample: str(sample.meta[group])
