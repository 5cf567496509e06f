"""Outputs in the layouts of lmms-eval and VLMEvalKit, from our own questions: what these tools would have logged.

The layouts are those of lmms-eval 0.7 and 0.3 (`lmms_eval/loggers/evaluation_tracker.py`, `lmms_eval/evaluator.py` and the
tasks' `utils.py`), and of VLMEvalKit (`vlmeval/inference_video.py`, `vlmeval/dataset/*.py`).
Of benchmarks whose task wasn't read there, or that a tool doesn't have, the rows have the form of their kind: the caption and
its times, or the question with its options.
"""

from __future__ import annotations

import csv
import hashlib
import json
import zipfile
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

LETTERS = "ABCDEFGHIJ"
PRE = (
    "Find the moment of a sentence in the video. The format should be: 'The event happens in the start time - end time'. For "
    "example, The event 'person turn a light on' happens in the 24.3 - 30.4 seonds. The sentence: "
)
"""Shorter than that of lmms-eval, but with its example, which is also a query of Charades-STA."""


def gold(sample):
    """A right answer as models give it when those tools ask: a letter, or a sentence with times."""
    span = sample.spans[0] if sample.spans else None
    when = f"The event happens in the {span.start} - {span.end} seconds." if span else ""
    if sample.several:
        return " and ".join(f"{one.start} - {one.end} seconds" for one in sample.spans)
    if sample.task == "grounding":
        return when
    if sample.options is None:
        return f"The answer is {sample.answer}."
    letter = f"The answer is ({LETTERS[sample.answer_index]})."
    return f"{when} {letter}".strip()


def stem(sample):
    return PurePosixPath(sample.video).stem


def prompt(sample):
    """What lmms-eval's task asks (`doc_to_text`)."""
    options = sample.options or ()
    if sample.task == "grounding":
        return f"{PRE}{sample.question}. Please return its start time and end time."
    if sample.source == "mvbench":
        listed = "".join(f"({LETTERS[i]}) {text}\n" for i, text in enumerate(options))
        return f"Question:{sample.question}\nOption:\n{listed}Only give the best option.\n"
    if sample.source == "mmvu":
        padded = [*options, *[""] * (5 - len(options))]
        listed = "".join(f"{LETTERS[i]}: {text}\n" for i, text in enumerate(padded))
        return f"\nQuestion:{sample.question}\n{listed}Visual Information: processed video\nAnswer with the letter.\n"
    if sample.source == "tempcompass":
        return f"{tempcompass_question(sample)}\nPlease directly give the best option:"
    listed = "\n".join(f"{LETTERS[i]}. {text}" for i, text in enumerate(options))
    return f"{sample.question}\n{listed}\nAnswer with the option's letter from the given choices directly."


def tempcompass_question(sample):
    task = sample.meta["task"]
    if task == "yes_no":
        return sample.question
    labels = sample.meta.get("labels") or [f"{letter}." for letter in LETTERS]
    marks = [label if label.endswith(".") else f"{label}:" for label in labels]
    return "\n".join([sample.question, *(f"{mark} {text}" for mark, text in zip(marks, sample.options, strict=False))])


def target(sample):
    if sample.source in ("mvbench", "tempcompass"):
        return sample.answer
    if sample.answer_index is not None:
        return str(sample.answer_index) if sample.source == "nextgqa" else LETTERS[sample.answer_index]
    if sample.spans is None:
        return sample.answer
    return str(list(sample.spans[0]))


def own_values(sample, text):
    """What the task's `process_results` adds to a row."""
    if sample.task == "grounding":
        key = f"{PurePosixPath(sample.video).name}>>>{sample.question}>>>{list(sample.spans[0])}"
        return {f"charades_sta_{name}": {key: text} for name in ("IOU@3", "mIOU")}
    if sample.source == "videomme":
        return {
            "videomme_perception_score": {
                "question_id": sample.id,
                "videoID": stem(sample),
                "pred_answer": text[:1],
                "score": 1.0,
            }
        }
    if sample.source == "mmvu":
        return {"accuracy": {"question_id": sample.id, "category": "Art", "pred_answer": "A", "answer": "A", "correct": 1}}
    if sample.source == "mvbench":
        return {"mvbench_accuracy": {"pred_answer": text, "gt_answer": LETTERS[sample.answer_index], "score": 1}}
    if sample.source == "tempcompass":
        found = {"video_id": stem(sample), "question": tempcompass_question(sample), "gt-answer": sample.answer}
        found |= {"video-llm-prediction": text, "match_success": True, "rating": 1, "dim": sample.meta["dim"]}
        return {"avg_accuracy": found, f"{sample.meta['dim']}_accuracy": found}
    return {"exact_match": True}


def doc(sample):
    """The hub's record, which older logs hold."""
    options = sample.options or ()
    if sample.task == "grounding":
        return {"video": PurePosixPath(sample.video).name, "caption": sample.question, "timestamp": list(sample.spans[0])}
    if sample.source == "videomme":
        listed = [f"{LETTERS[i]}. {text}" for i, text in enumerate(options)]
        return {
            "video_id": "001",
            "videoID": stem(sample),
            "question_id": sample.id,
            "question": sample.question,
            "options": listed,
        }
    if sample.source == "mmvu":
        choices = {letter: (options[i] if i < len(options) else "") for i, letter in enumerate("ABCDE")}
        return {"id": sample.id, "video_path": sample.video, "question": sample.question, "choices": choices}
    if sample.source == "mvbench":
        return {"video": PurePosixPath(sample.video).name, "question": sample.question, "candidates": list(options)}
    if sample.source == "tempcompass":
        return {"video_id": stem(sample), "question": tempcompass_question(sample), "dim": sample.meta["dim"]}
    if sample.source != "nextgqa":
        return {
            "id": sample.id,
            "video": PurePosixPath(sample.video).name,
            "question": sample.question,
            "options": list(options),
        }
    video, _, qid = sample.id.partition(":")
    named = {f"a{i}": text for i, text in enumerate(options)}
    return {"video": video, "question": sample.question, "qid": qid, "type": sample.meta["type"], **named}


def lmms_rows(samples, texts, version="0.7"):
    """Rows of a task's log, in the order of its data set."""
    for place, (sample, text) in enumerate(zip(samples, texts, strict=True)):
        digest = hashlib.sha256(sample.id.encode()).hexdigest()
        common = {"doc_id": place, "target": target(sample)}
        if version == "0.7":
            row = {**common, "filtered_resps": text, "token_counts": [None], "doc_hash": digest, **own_values(sample, text)}
            yield row | {"input": prompt(sample)}
        else:
            given = {"0": {"max_new_tokens": 16}, "1": None, "2": place}
            row = {**common, "doc": doc(sample), "arguments": given, "resps": [[text]], "filtered_resps": [text]}
            yield row | {"doc_hash": digest, **own_values(sample, text), "input": prompt(sample)}


def write_lmms(folder, samples, texts, version="0.7", name=None):
    """`<date>_samples_<task>.jsonl` for each task, as the tool has one per task of MVBench and TempCompass, and results."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tasks = {}
    for sample, text in zip(samples, texts, strict=True):
        tasks.setdefault(str(sample.meta.get("task", name or sample.source)), []).append((sample, text))
    for task, pairs in tasks.items():
        rows = lmms_rows([sample for sample, _ in pairs], [text for _, text in pairs], version)
        path = folder / f"20260801_120000_samples_{task}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    (folder / "20260801_120000_results.json").write_text('{"results": {}}')
    return folder


def vlmeval_rows(samples, texts):
    """Columns of the data set, and `prediction`."""
    for place, (sample, text) in enumerate(zip(samples, texts, strict=True)):
        row = {"index": place, "video": stem(sample), "question": sample.question}
        if sample.source == "mvbench":
            row |= {
                "task_type": sample.meta["task"].replace("_", " ").title(),
                "prefix": "video/",
                "candidates": str(list(sample.options)),
            }
            row["video"] = PurePosixPath(sample.video).name
        elif sample.source == "tempcompass":
            lines = tempcompass_question(sample).split("\n")[1:]
            row |= {
                "task_type": sample.meta["task"],
                "dim": sample.meta["dim"],
                **({"candidates": str(lines)} if lines else {}),
            }
        elif sample.source == "videomme":
            row["candidates"] = str([f"{LETTERS[i]}. {option}" for i, option in enumerate(sample.options)])
        elif sample.options:
            row |= {LETTERS[i]: option for i, option in enumerate(sample.options)}
        yield row | {"answer": target(sample), "prediction": text}


def write_table(path, rows):
    """A table in the format of its suffix, as pandas writes it for the tool."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=4, ensure_ascii=False), encoding="utf-8")
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, delimiter="\t" if path.suffix == ".tsv" else ",", quoting=csv.QUOTE_ALL)
            writer.writerow(names)
            writer.writerows([row.get(name, "") for name in names] for row in rows)
    else:
        write_sheet(path, [names, *([row.get(name, "") for name in names] for row in rows)])
    return path


def write_sheet(path, rows, inline=False):
    """An Excel file as xlsxwriter lays it out: shared strings, numbers in their cells, empty cells left out."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    texts: dict[str, int] = {}
    body = []
    for number, row in enumerate(rows, 1):
        cells = []
        for column, value in enumerate(row):
            name = f"{_column(column)}{number}"
            if value == "":
                continue
            if isinstance(value, (int, float)):
                cells.append(f'<c r="{name}"><v>{value}</v></c>')
            elif inline:
                cells.append(f'<c r="{name}" t="inlineStr"><is><t>{escape(value)}</t></is></c>')
            else:
                cells.append(f'<c r="{name}" t="s"><v>{texts.setdefault(value, len(texts))}</v></c>')
        body.append(f'<row r="{number}">{"".join(cells)}</row>')
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("[Content_Types].xml", "<Types/>")
        out.writestr(
            "xl/worksheets/sheet1.xml", f'<worksheet xmlns="{main}"><sheetData>{"".join(body)}</sheetData></worksheet>'
        )
        if texts:
            items = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in texts)
            out.writestr("xl/sharedStrings.xml", f'<sst xmlns="{main}">{items}</sst>')
    return path


def _column(place):
    name = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        name = chr(65 + rest) + name
    return name
