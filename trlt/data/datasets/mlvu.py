"""MLVU (dev): 2,175 multi-choice questions of seven tasks about videos from three minutes to hours.

Origin: Zhou et al., "MLVU: Benchmarking Multi-task Long Video Understanding" (2024). `1_plotQA.json` to
`7_topic_reasoning.json` are lists of `{video, duration, question, candidates[4], answer, question_type}`, where `answer` is a
candidate's text. The task is the file's name (`question_type` differs in one). Videos are `<file's stem>/<video>`, below
`video/`; one flat folder, and folders by task, are found too. A name is one footage in all files.

Splits: dev. The two generation tasks (`8_sub_scene.json`, `9_summary.json`, 418 records) need GPT-4 as a judge: they are left
out, and counted where their files are there.
Protocol: `m_avg` is M-Avg, the mean of the seven tasks' accuracies; `acc` counts all questions alike. Official check
(`choice_bench.py`): with a `)` in the output its letter is the character before the first one, else the whole output; it must
be the gold letter exactly. Of equal candidates (they occur in 16 records) the last is gold; here, by the paper's protocol,
either is right. Two records (needle_4, needle_5) have a gold text that is no candidate: they are never right, so M-Avg is at
most 99.92. One record is empty but for its video, and stays. License: CC BY-NC-SA 4.0, research only; videos belong to their
owners.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trlt.data.datasets import _mlvu
from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, get, holding
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch, Remote, on_github
from trlt.data.datasets._metrics import Item, official_text
from trlt.data.datasets._mlvu import DOMAIN as DOMAIN
from trlt.data.datasets._mlvu import LICENSE, TASK
from trlt.data.datasets._mlvu import MICRO as MICRO
from trlt.data.datasets._mlvu import group as group
from trlt.data.datasets._mlvu import values as values
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample

TITLE = "MLVU (dev)"
WHERE = "github.com/JUNJIE99/MLVU (data/); videos at huggingface.co/datasets/MLVU/MVLU"
HEADLINES = ("m_avg",)
TEST_SPLIT = "dev"
TASKS = {
    "1_plotQA": "Plot QA",
    "2_needle": "Needle QA",
    "3_ego": "Ego Reasoning",
    "4_count": "Action Count",
    "5_order": "Action Order",
    "6_anomaly_reco": "Anomaly Recognition",
    "7_topic_reasoning": "Topic Reasoning",
}
OPTIONAL = ("8_sub_scene.json", "9_summary.json")
"""Generation tasks; their records are only counted."""
FILES = {"dev": (*(f"{task}.json" for task in TASKS), *OPTIONAL)}
_DIGESTS = {
    "1_plotQA.json": (201_075, "453cdabe10409fe5ed4c0d98dcde2be53e13ae3dacb19fd3173c8b27c4bf388b"),
    "2_needle.json": (143_990, "e31deed2c719f035054f5229f7ea77075eb4b69bf83680e8baf3b272a9eabb1d"),
    "3_ego.json": (125_238, "4566a3e9e19c8cee8183f0368e9a8d0f484098bd2f1eb949c832535764eb9701"),
    "4_count.json": (73_315, "4b063074ab8e676e4756e4aaa369c18e38ed49563ec4e0cd0a381c4260dacb8a"),
    "5_order.json": (168_502, "c332f83c45a1a28cec156658f8cb6a948fcb181ed0ee5e044a9be3fb95dc6bdb"),
    "6_anomaly_reco.json": (78_241, "caccb62cd52775cdcf3989ce15aa2bbb4269c2df2863eb7d0f48e83620a705e8"),
    "7_topic_reasoning.json": (94_879, "54a5287703fddc2bc2b6cfdc92918e099d50257c575a12d194423128deefc99d"),
}
_REPOSITORY = ("JUNJIE99/MLVU", "fd060c10a43ea48a35100a22688a927b8e531199")
FETCH = Fetch(
    files=tuple(
        Remote(on_github(*_REPOSITORY, f"data/{file}"), size, f"sha256:{digest}") for file, (size, digest) in _DIGESTS.items()
    ),
    by_hand=(
        "videos: accept the terms at huggingface.co/datasets/MLVU/MVLU, then hf download MLVU/MVLU --repo-type dataset "
        "--include 'MLVU/video/*' --local-dir {data}/mlvu",
    ),
    videos_at="mlvu/MLVU/video",
)
OFFICIAL_LOWER = (
    "MLVU's rule wants the letter alone, or right before the first bracket; `B.` and an answer in words are wrong by it"
)
FACTS = Facts(
    questions=2_175,
    videos=1_122,
    rule=(
        "The output must be the gold letter exactly, or have it right before its first closing bracket. M-Avg is the mean of "
        "the seven tasks' accuracies, and at most 99.92, since two gold texts are no option."
    ),
    published=(
        "The official prompt ends in `Best Option: (`, with a line of its own for each model family; frames are each model's "
        "(8 to 2,048, or a rate). Qwen's cards and reports give M-Avg on this set."
    ),
    disagreements=(
        "VLMEvalKit calls a mean over all questions M-Avg; here that is `acc`.",
        "lmms-eval takes the mean over tasks, but with its own parser of letters, A to D.",
        "Some papers' MLVU is the test set of 502 questions with six options: `mlvu_test`.",
        "Qwen2.5-VL-7B has 70.2 and Qwen3-VL-8B 78.1 by Qwen, whose frames and prompts aren't published.",
    ),
)

EXAMPLE = Example(
    split="dev",
    purpose="bench",
    files={
        "1_plotQA.json": '[{"video": "film_900.mp4", "duration": 601.5, "question": "What colour is  the boat?", '
        '"candidates": ["Red", "Blue", "Blue", "White"], "answer": "Blue", "question_type": "plotQA"}]',
        "2_needle.json": "[]",
        "3_ego.json": "[]",
        "4_count.json": "[]",
        "5_order.json": "[]",
        "6_anomaly_reco.json": "[]",
        "7_topic_reasoning.json": "[]",
    },
    samples=(
        Sample(
            id="1_plotQA:0",
            source="mlvu",
            split="dev",
            task=TASK,
            video="1_plotQA/film_900.mp4",
            video_key="mlvu:film_900",
            duration=601.5,
            question="What colour is the boat?",
            options=("Red", "Blue", "Blue", "White"),
            answer="Blue",
            answer_index=2,
            license=LICENSE,
            meta={
                "task": "1_plotQA",
                "alternatives": [
                    {"video": "plotQA/film_900.mp4", "cut": False},
                    {"video": "film_900.mp4", "cut": False},
                ],
                "flags": ["duplicate_options"],
            },
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the parsed files, task by task."""
    out = Collector(source="mlvu", split=split, task=TASK, license=LICENSE)
    for task in TASKS:
        name = f"{task}.json"
        for index, record in enumerate(holding(files, name, list, "a list of records")):
            where = f"{name}[{index}]"
            video = get(record, "video", str, where)
            _mlvu.keep(
                out,
                record,
                where,
                id=f"{task}:{index}",
                task=task,
                video=f"{task}/{video}",
                others=(f"{task.partition('_')[2]}/{video}", video),
                gold=get(record, "answer", str, where),
            )
    for name in OPTIONAL:
        for index, _ in enumerate(holding(files, name, list, "a list of records") if name in files else []):
            out.drop("generation_task", f"{name}[{index}]")
    return out.reading("the generation tasks need a judge model and are left out" if out.dropped["generation_task"] else "")


def official(item: Item) -> dict[str, float]:
    """Whether the output names the gold letter, as `check_ans` of `choice_bench.py` reads it."""
    text = official_text(item).strip()
    if ")" in text:
        place = text.index(")")
        text = text[place - 1 : place]
    right = text == LETTERS[item.sample.answer_index or 0] and "gold_no_option" not in item.sample.meta
    return _mlvu.named(float(right))


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """M-Avg and the accuracy over all questions, in percent; by task."""
    return _mlvu.entry(items, official, TASKS)
