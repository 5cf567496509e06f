"""A corpus of invented annotation in the official layouts of the nine sources, as large as the paper's pool.

Every record differs, and a known share has faults: what `trlt prepare` must find is known beforehand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TextIO

PAPER = {
    "llava_video": 158_439,
    "nextqa": 17_024,
    "perceptiontest": 7_392,
    "internvid": 213_158,
    "didemo": 33_002,
    "vtg_it": 16_318,
    "charades": 12_408,
    "gvideollm": 29_797,
    "nextgqa": 3_358,
}
"""Samples of each source in the paper: 490,896 in all."""
FAULTY = 0.002
"""Share of records that are made unusable."""
WORDS = (
    "man woman boy girl dog cat child person someone player cook dancer opens closes takes puts throws holds washes cuts runs "
    "jumps walks sits stands turns looks smiles talks door window book cup phone towel laptop bag box ball table chair shelf "
    "bed kitchen garden street river field slowly quickly again twice together alone behind before under near red blue green"
).split()
DIGITS = "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE".split()


@dataclass
class Made:
    """What was written of one source."""

    samples: int = 0
    faulty: int = 0
    videos: dict[str, float] = field(default_factory=dict)
    """Path below the folder of videos -> seconds."""


def sentence(rng: Random, words: int = 8) -> str:
    """Random words."""
    return " ".join(rng.choices(WORDS, k=words))


def span(rng: Random, duration: float) -> tuple[float, float]:
    """A stretch of a video, one decimal."""
    start = round(rng.uniform(0, duration - 2.5), 1)
    return start, round(rng.uniform(start + 1, min(duration, start + 20)), 1)


def youtube(rng: Random) -> str:
    """An invented id of eleven characters."""
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", k=11))


def write(root: Path, scale: float, seed: int = 0) -> dict[str, Made]:
    """Writes the annotation of all sources below `root/<source>`; videos aren't made.

    Args:
        root: A folder.
        scale: 1 gives the paper's counts.
        seed: Of all that is random.
    """
    made = {}
    for name, count in PAPER.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        made[name] = _WRITERS[name](folder, max(2, round(count * scale)), Random(f"{seed}:{name}"))
    return made


def _list(out: TextIO, records: Iterator[Any]) -> None:
    """A JSON list, record by record: the large ones must not stand in memory here either."""
    out.write("[")
    for place, record in enumerate(records):
        out.write((",\n" if place else "\n") + json.dumps(record))
    out.write("\n]\n")


def _llava_video(folder: Path, count: int, rng: Random) -> Made:
    made = Made()
    buckets = ("0_30_s", "30_60_s", "1_2_m", "2_3_m")
    for place, bucket in enumerate(buckets):
        last = count * (place + 1) // len(buckets)
        (folder / f"{bucket}_youtube_v0_1").mkdir(exist_ok=True)
        with (folder / f"{bucket}_youtube_v0_1/{bucket}_youtube_mc_v0_1_qa_processed.json").open("w") as out:
            _list(out, _llava_records(made, last, bucket, rng))
    return made


def _llava_records(made: Made, last: int, bucket: str, rng: Random) -> Iterator[Any]:
    seconds = {"0_30_s": (8, 30), "30_60_s": (30, 60), "1_2_m": (60, 120), "2_3_m": (120, 180)}[bucket]
    while made.samples < last:
        video = f"liwei_youtube_videos/videos/youtube_video_2024/ytb_{youtube(rng)}.mp4"
        made.videos[f"{bucket}_youtube_v0_1/{video}"] = round(rng.uniform(*seconds), 2)
        turns: list[dict[str, str]] = []
        for _ in range(min(3, last - made.samples)):
            options = [sentence(rng, 5) for _ in range(5)]
            place = rng.randrange(5)
            text = options[place]
            if rng.random() < FAULTY:
                text, made.faulty = "something else", made.faulty + 1
            listed = "\n".join(f"{'ABCDE'[i]}. {option}." for i, option in enumerate(options))
            tail = "Please provide your answer by stating the letter followed by the full option."
            turns += [
                {"from": "human", "value": f"<image>\nWhat does the {sentence(rng)}?\n{listed}\n{tail}"},
                {"from": "gpt", "value": f"{'ABCDE'[place]}. {text}."},
            ]
            made.samples += 1
        yield {"id": Path(video).stem, "conversations": turns, "data_source": f"{bucket}_youtube_v0_1", "video": video}


def _next_rows(made: Made, count: int, rng: Random, *, text: bool) -> tuple[list[str], dict[str, str], dict[str, Any]]:
    rows, places, grounds = [], {}, dict[str, Any]()
    while made.samples < count:
        video = str(rng.randrange(10**9, 10**10))
        places[video] = f"{int(video) % 1200:04d}/{video}"
        duration = made.videos[f"{places[video]}.mp4"] = float(rng.randint(10, 90))
        grounds[video] = {"duration": int(duration), "fps": 30.0, "location": {}}
        for qid in range(min(5, count - made.samples)):
            options = [sentence(rng, 4) for _ in range(5)]
            place = rng.randrange(5)
            answer = options[place] if text else str(place)
            if rng.random() < FAULTY:
                answer, made.faulty = ("no such answer" if text else "7"), made.faulty + 1
            rows.append(f"{video},300,640,480,why did the {sentence(rng, 6)},{answer},{qid},CW,{','.join(options)}")
            grounds[video]["location"][str(qid)] = [list(span(rng, duration)) for _ in range(1 + (rng.random() < 0.1))]
            made.samples += 1
    return rows, places, grounds


def _nextqa(folder: Path, count: int, rng: Random) -> Made:
    made = Made()
    rows, places, _ = _next_rows(made, count, rng, text=False)
    head = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
    (folder / "train.csv").write_text("\n".join([head, *rows]) + "\n")
    (folder / "map_vid_vidorID.json").write_text(json.dumps(places))
    return made


def _nextgqa(folder: Path, count: int, rng: Random) -> Made:
    made = Made()
    rows, places, grounds = _next_rows(made, count, rng, text=True)
    head = "video_id,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
    (folder / "val.csv").write_text("\n".join([head, *rows]) + "\n")
    (folder / "gsub_val.json").write_text(json.dumps(grounds))
    (folder / "map_vid_vidorID.json").write_text(json.dumps(places))
    return made


def _perceptiontest(folder: Path, count: int, rng: Random) -> Made:
    made, videos, cuts = Made(), dict[str, Any](), dict[str, int]()
    while made.samples < count:
        video = f"video_{len(videos)}"
        frames = rng.randint(300, 1000)
        made.videos[f"{video}.mp4"] = frames / 30
        cuts[video] = frames - rng.randint(30, 90)
        questions = []
        for number in range(min(4, count - made.samples)):
            answer = rng.randrange(3)
            if rng.random() < FAULTY:
                answer, made.faulty = 9, made.faulty + 1
            asked = {
                "id": number,
                "question": f"What does the {sentence(rng)}?",
                "options": [sentence(rng, 4) for _ in range(3)],
            }
            questions.append(asked | {"answer_id": answer, "area": "Physics", "reasoning": "Descriptive", "tag": ["motion"]})
            made.samples += 1
        metadata = {"split": "train", "video_id": video, "frame_rate": 30.0, "num_frames": frames}
        videos[video] = {"metadata": metadata, "mc_question": questions}
    (folder / "mc_question_train.json").write_text(json.dumps(videos))
    (folder / "cut_frame_mapping_train.json").write_text(json.dumps(cuts))
    return made


def _internvid(folder: Path, count: int, rng: Random) -> Made:
    made = Made()
    with (folder / "stage2.json").open("w") as out:
        _list(out, _internvid_records(made, count, rng))
    return made


def _internvid_records(made: Made, count: int, rng: Random) -> Iterator[Any]:
    while made.samples < count:
        video, begin = youtube(rng), round(rng.uniform(0, 300), 1)
        duration = round(rng.uniform(30, 120), 1)
        # Half of the files are cut already, half are the whole video.
        made.videos[f"{video}.mp4"] = duration if rng.random() < 0.5 else round(begin + duration + rng.uniform(5, 300), 2)
        tokens, turns = dict[str, float](), []
        for number in range(min(3, count - made.samples)):
            start, end = span(rng, duration)
            if rng.random() < FAULTY:
                start, end, made.faulty = end, start, made.faulty + 1
            tokens |= {f"<s{number}>": start, f"<e{number}>": end}
            turns += [
                {"from": "human", "value": f"During which frames can we see the {sentence(rng)}?"},
                {"from": "gpt", "value": f"From <s{number}> to <e{number}>."},
            ]
            made.samples += 1
        meta = {"split": [begin, round(begin + duration, 1)], "duration": duration, "token": tokens}
        yield {"source": "internvid", "id": video, "conversations": turns, "meta": meta}


def _didemo(folder: Path, count: int, rng: Random) -> Made:
    made, records = Made(), []
    while made.samples < count:
        video = (
            f"{rng.randrange(10**7, 10**8)}@N0{rng.randrange(9)}_{rng.randrange(10**9, 10**10)}_{rng.getrandbits(40):010x}.mp4"
        )
        made.videos[video] = round(rng.uniform(26, 60), 2)
        for _ in range(min(4, count - made.samples)):
            first = rng.randrange(5)
            times = [[first, rng.randrange(first, 5)]] * 4
            if rng.random() < FAULTY:
                times, made.faulty = [[4, 1]] * 4, made.faulty + 1
            asked = {"num_segments": 6, "description": f"the {sentence(rng)}", "times": times}
            records.append(asked | {"video": video, "annotation_id": 1000 + made.samples})
            made.samples += 1
    (folder / "train_data.json").write_text(json.dumps(records))
    return made


def _tokens(seconds: float) -> str:
    return "".join(f"<TIME_{'DOT' if char == '.' else DIGITS[int(char)]}>" for char in f"{seconds:06.1f}")


def _vtg_it(folder: Path, count: int, rng: Random) -> Made:
    made = Made()
    for place, (part, suffix) in enumerate((("QueryD", "mp4"), ("HiREST_grounding", "mp4"), ("VTG-IT-MR", "mp4"))):
        last, records = count * (place + 1) // 3, []
        while made.samples < last:
            video = f"{youtube(rng)}.{suffix}"
            duration = made.videos[video] = round(rng.uniform(30, 200), 2)
            start, end = span(rng, duration)
            if rng.random() < FAULTY:
                end, made.faulty = start, made.faulty + 1
            query = f"Localize the visual content described by the given textual query '{sentence(rng)}' in the video."
            answer = f"The given query happens in {_tokens(start)} - {_tokens(end)} seconds."
            records.append({"video": video, "QA": [{"q": query, "a": answer}], "source": part})
            made.samples += 1
        (folder / "moment_retrieval" / part).mkdir(parents=True, exist_ok=True)
        (folder / "moment_retrieval" / part / "time_token.json").write_text(json.dumps(records))
    return made


def _charades(folder: Path, count: int, rng: Random) -> Made:
    made, lines, lengths = Made(), [], ["id,length"]
    while made.samples < count:
        video = "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=7))
        duration = made.videos[f"{video}.mp4"] = round(rng.uniform(20, 40), 2)
        lengths.append(f"{video},{duration}")
        for _ in range(min(2, count - made.samples)):
            start, end = span(rng, duration)
            if rng.random() < FAULTY:
                start, end, made.faulty = end, start, made.faulty + 1
            lines.append(f"{video} {start} {end}##the {sentence(rng)}.")
            made.samples += 1
    (folder / "charades_sta_train.txt").write_text("\n".join(lines) + "\n")
    (folder / "Charades_v1_train.csv").write_text("\n".join(lengths) + "\n")
    return made


def _gvideollm(folder: Path, count: int, rng: Random) -> Made:
    made, records = Made(), []
    while made.samples < count:
        video = f"v_{youtube(rng)}"
        duration = made.videos[f"{video}.mp4"] = round(rng.uniform(30, 200), 2)
        for _ in range(min(3, count - made.samples)):
            start, end = span(rng, duration)
            if rng.random() < FAULTY:
                start, end, made.faulty = end, start, made.faulty + 1
            options = "\n".join(f"({letter}) {sentence(rng, 4)}." for letter in "ABCD")
            letter = rng.choice("ABCD")
            turns = [
                {"from": "human", "value": f"<image>\nWhat does the {sentence(rng)}?\n{options}"},
                {"from": "gpt", "value": f"({letter}) From <{start}> to <{end}>."},
            ]
            asked = {"question_id": f"q{made.samples}", "video_id": video, "video_file": f"{video}.mp4"}
            records.append(asked | {"dataset_name": "G-VideoQA", "conversation": turns})
            made.samples += 1
    (folder / "G-VideoQA-gpt4o-mini-anno.json").write_text(json.dumps(records))
    return made


_WRITERS: dict[str, Callable[[Path, int, Random], Made]] = {
    "llava_video": _llava_video,
    "nextqa": _nextqa,
    "perceptiontest": _perceptiontest,
    "internvid": _internvid,
    "didemo": _didemo,
    "vtg_it": _vtg_it,
    "charades": _charades,
    "gvideollm": _gvideollm,
    "nextgqa": _nextgqa,
}
