"""MLVU (test): 502 multi-choice questions of nine tasks with six options each, about long videos.

Origin: Zhou et al., "MLVU: Benchmarking Multi-task Long Video Understanding" (2024); the answers were published in 2025.
`test_mcq_gt.json` is a list of `{video, duration, question, candidates[6], answer, question_type, question_id}`, where
`answer` is a candidate's text. A file of answers that lacks the questions is joined by `question_id` with `test_question.json`
(or `test_multi_choice_tasks.json`, the same on the hub), and may give a letter as `option`. Videos are `<video>`, in one
folder.

Splits: test. The generation tasks need a judge and are in other files, which aren't read.
Protocol: `m_avg` is M-Avg, the mean of the nine tasks' accuracies; `acc` counts all questions alike. Official check: what
stands before the first `)` (all of the output without one) must be the gold letter exactly; the prompt ends in `Best Option:
(`, so a chat model's `(B)` is wrong there. License: CC BY-NC-SA 4.0, research only; videos belong to their owners.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trlt.data.datasets import _mlvu
from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, get, holding
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._metrics import Item, official_text
from trlt.data.datasets._mlvu import DOMAIN as DOMAIN
from trlt.data.datasets._mlvu import LICENSE, TASK
from trlt.data.datasets._mlvu import MICRO as MICRO
from trlt.data.datasets._mlvu import group as group
from trlt.data.datasets._mlvu import values as values
from trlt.errors import DataError, shown
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample

TITLE = "MLVU (test)"
WHERE = "huggingface.co/datasets/MLVU/MLVU_Test"
HEADLINES = ("m_avg",)
TEST_SPLIT = "test"
TASKS = {
    "topic_reasoning": "Topic Reasoning",
    "anomaly_reco": "Anomaly Recognition",
    "needleQA": "Needle QA",
    "ego": "Ego Reasoning",
    "plotQA": "Plot QA",
    "sportsQA": "Sports QA",
    "order": "Action Order",
    "count": "Action Count",
    "tutorialQA": "Tutorial QA",
}
GOLD = "test_mcq_gt.json"
QUESTIONS = ("test_question.json", "test_multi_choice_tasks.json")
FILES = {"test": (GOLD, *QUESTIONS)}
OPTIONAL = QUESTIONS
"""Needed only beside a file of answers that lacks the questions."""
FETCH = Fetch(
    by_hand=(
        "annotation: accept the terms at huggingface.co/datasets/MLVU/MLVU_Test, then hf download MLVU/MLVU_Test --repo-type "
        "dataset --include 'test-ground-truth/*' --local-dir {data}/mlvu_test",
        "videos: hf download MLVU/MLVU_Test --repo-type dataset --include 'MLVU_Test/*' --local-dir {data}/mlvu_test, then in "
        "{data}/mlvu_test/MLVU_Test: cat test_video.tar.gz.part-* | tar -xz",
    ),
    videos_at="mlvu_test/MLVU_Test/video",
)
OFFICIAL_LOWER = (
    "MLVU's test wants the letter alone, or before a bracket (`B) …`); `(B)`, `B.` and an answer in words are wrong by it"
)
FACTS = Facts(
    questions=502,
    videos=None,
    rule=(
        "What stands before the first closing bracket, or else the whole output, must be the gold letter exactly. M-Avg is the "
        "mean of the nine tasks' accuracies."
    ),
    published=(
        "The leaderboard's models were run with the prompt that ends in `Best Option: (` and with frames of their own choice, "
        "and scored on a server; the answers were published in March 2025."
    ),
    disagreements=(
        "lmms-eval reads the letters A to D only, so its figures can never count an answer E or F.",
        "The authors' published outputs of Video-LLaVA give M-Avg 29.28 (31.67 over all questions) with the published answers, "
        "while their README says 30.7: six of the nine tasks are equal, so some answers were revised.",
        "EasyVideoR1's MLVU is this set; Qwen's is `mlvu`.",
    ),
)

_FIRST = Sample(
    id="AR_900",
    source="mlvu_test",
    split="test",
    task=TASK,
    video="test_cam_900.mp4",
    video_key="mlvu:test_cam_900",
    duration=297.5,
    question="What happens at the gate?",
    options=("A fight", "Nothing", "A theft", "A parade", "A fire", "An arrest"),
    answer="An arrest",
    answer_index=5,
    license=LICENSE,
    meta={"task": "anomaly_reco", "alternatives": [{"video": "video/test_cam_900.mp4", "cut": False}]},
)
EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        GOLD: '[{"video": "test_cam_900.mp4", "duration": 297.5, "question": "What happens at the gate?", "candidates": '
        '["A fight", "Nothing", "A theft", "A parade", "A fire", "An arrest"], "answer": "An arrest", '
        '"question_type": "anomaly_reco", "question_id": "AR_900"}]'
    },
    samples=(_FIRST,),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the parsed answers, or of questions and answers, in the order of the questions.

    Raises:
        DataError: the answers lack the questions, and no file of questions is beside them.
    """
    out = Collector(source="mlvu_test", split=split, task=TASK, license=LICENSE)
    answers = holding(files, GOLD, list, "a list of records")
    whole = all(isinstance(record, dict) and "candidates" in record for record in answers)
    name = GOLD if whole else next((name for name in QUESTIONS if name in files), None)
    if name is None:
        raise DataError(f"{GOLD}: holds answers without questions; put {' or '.join(QUESTIONS)} beside it")
    gold = {get(record, "question_id", str, f"{GOLD}[{index}]"): record for index, record in enumerate(answers)}
    for index, record in enumerate(holding(files, name, list, "a list of records")):
        where = f"{name}[{index}]"
        id, task, video = (get(record, key, str, where) for key in ("question_id", "question_type", "video"))
        if id not in gold:
            out.drop("no_answer", id)
            continue
        if task not in TASKS:
            out.drop("unknown_task", f"{id}: {task}")
            continue
        answer = _answer(gold[id], record, f"{GOLD}: {id}", where)
        _mlvu.keep(out, record, where, id=id, task=task, video=video, others=(f"video/{video}",), gold=answer)
    return out.reading()


def _answer(answer: Any, record: Any, where: str, asked: str) -> str:
    """The gold text: told as such, or by its letter."""
    if "answer" in answer:
        return str(get(answer, "answer", str, where))
    letter, candidates = get(answer, "option", str, where).strip(), get(record, "candidates", list, asked)
    if letter not in LETTERS[: len(candidates)] or len(letter) != 1:
        raise DataError(f"{where}: option: expected a letter from A to {LETTERS[len(candidates) - 1]}, got {shown(letter)}")
    return str(candidates[LETTERS.index(letter)])


def official(item: Item) -> dict[str, float]:
    """Whether what stands before the first `)` is the gold letter, as `test_bench.py` cuts it."""
    said = official_text(item).strip().partition(")")[0].strip()
    right = said == LETTERS[item.sample.answer_index or 0] and "gold_no_option" not in item.sample.meta
    return _mlvu.named(float(right))


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """M-Avg and the accuracy over all questions, in percent; by task."""
    return _mlvu.entry(items, official, TASKS)
