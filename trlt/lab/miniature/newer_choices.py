"""Scenes and questions -> newer multi-choice and number benchmarks in their official formats. Writes no files.

Formats: LongVideoBench, Video-Holmes, Video-MME-v2, MLVU and its test set, LVBench, VSI-Bench and Video-MMMU; rows and videos
are invented. Where a benchmark has more options than a scene has answers, there are fewer here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trlt.lab.miniature.facts import FIVE_OPTION_KINDS, AnswerKind, AskKind
from trlt.lab.miniature.ids import youtube_id
from trlt.lab.miniature.official import Part, WorldOptions, clips_of, parquet
from trlt.lab.miniature.questions import SceneQuestion, ask_several
from trlt.lab.miniature.sources import lettered
from trlt.lab.miniature.world import Scene
from trlt.task.answer import LETTERS


def _letter(question: SceneQuestion) -> str:
    return LETTERS[question.answer_index or 0]


def _lettered(question: SceneQuestion, form: str = "({}) {}") -> list[str]:
    return [form.format(letter, text) for letter, text in zip(LETTERS, question.options or (), strict=False)]


def longvideobench(clips: int, world: WorldOptions) -> Part:
    """LongVideoBench: `lvb_val.json`, and a video's subtitles, which say what is shown."""
    rows: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    subtitles: dict[str, str] = {}
    for index, scene, rng in clips_of("bench/longvideobench", "shifted", world, clips):
        name = youtube_id("bench/longvideobench", index)
        videos[f"videos/{name}.mp4"] = scene
        lines = [{"timestamp": [show.start, show.end], "text": f"here is a {show.colour} {show.kind}"} for show in scene.shows]
        subtitles[f"subtitles/{name}_en.json"] = json.dumps(lines)
        asked = ask_several(scene, rng, "multi_choice", 2, kinds=FIVE_OPTION_KINDS, options=4)
        for number, q in enumerate(asked):
            rows.append(
                {
                    "video_id": name,
                    "question": q.text,
                    "question_wo_referring_query": q.text,
                    "candidates": list(q.options or ()),
                    "correct_choice": q.answer_index,
                    "position": [],
                    "topic_category": "KS-Knowledge-STEM",
                    "question_category": "TOS" if q.kind in ("first", "second", "last", "after", "before") else "SOS",
                    "level": "IntraMoment",
                    "id": f"{name}_{number}",
                    "video_path": f"{name}.mp4",
                    "subtitle_path": f"{name}_en.json",
                    "duration_group": 15,
                    "starting_timestamp_for_subtitles": 0,
                    "duration": scene.duration,
                    "view_count": 1000 + index,
                }
            )
    return Part({"lvb_val.json": json.dumps(rows)}, videos, subtitles)


_HOLMES: dict[AskKind, str] = {"after": "TCI", "before": "TCI", "count": "MHR", "action": "IMC", "mover": "SR", "turn": "PAR"}


def videoholmes(clips: int, world: WorldOptions) -> Part:
    """Video-Holmes: one list whose keys have blanks; options by letter."""
    rows: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("bench/videoholmes", "shifted", world, clips):
        name = youtube_id("bench/videoholmes", index)
        videos[f"videos_cropped/{name}.mp4"] = scene
        asked = ask_several(scene, rng, "multi_choice", 2, kinds=FIVE_OPTION_KINDS, options=6)
        for number, q in enumerate(asked, 1):
            rows.append(
                {
                    "video ID": name,
                    "Question ID": str(number),
                    "Question Type": _HOLMES.get(q.kind, "TA"),
                    "Question": q.text,
                    "Options": dict(zip(LETTERS, q.options or (), strict=False)),
                    "Answer": _letter(q),
                    "Explanation": q.reasoning,
                }
            )
    return Part({"test_Video-Holmes.json": json.dumps(rows)}, videos)


_STRUCTURES = ("[1, 2, 3, 4]", "[1, [2, 3], 4]", "[[1, 2], 3, 4]")


def videomme_v2(clips: int, world: WorldOptions) -> Part:
    """Video-MME-v2: the parquet file, a group of four questions a video, and the words that are said."""
    rows: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    subtitles: dict[str, str] = {}
    for index, scene, rng in clips_of("bench/videomme_v2", "shifted", world, clips):
        asked = ask_several(scene, rng, "multi_choice", 4, kinds=FIVE_OPTION_KINDS * 2, options=8)
        if len(asked) < 4:
            continue
        name = f"{index + 1:03d}"
        videos[f"videos/{name}.mp4"] = scene
        subtitles[f"subtitle/{name}.jsonl"] = _words(scene)
        logic = index % 2 == 1
        for number, q in enumerate(asked, 1):
            last = number == 4
            rows.append(
                {
                    "video_id": name,
                    "url": f"https://www.youtube.com/watch?v={youtube_id('bench/videomme_v2', index)}",
                    "group_type": "logic" if logic else "relevance",
                    "group_structure": _STRUCTURES[index // 2 % 3] if logic else "[1, 2, 3, 4]",
                    "question_id": f"{name}-{number}",
                    "question": q.text,
                    "options": "\n".join(lettered(q)),
                    "answer": _letter(q),
                    "level": str(1 + index % 3) if last else None,
                    "second_head": "Order" if last else "",
                    "third_head": "Shapes" if last else "",
                }
            )
    return Part({"test.parquet": parquet(rows)}, videos, subtitles)


def _words(scene: Scene) -> str:
    lines = []
    for show in scene.shows:
        for place, word in enumerate(("look,", show.colour, f"{show.kind}.")):
            start = show.start + 0.2 * place
            lines.append(json.dumps({"text": word, "start_time": start, "end_time": start + 0.2}))
    return "".join(f"{line}\n" for line in lines)


_MLVU: dict[str, tuple[str, tuple[AnswerKind, ...]]] = {
    "1_plotQA": ("plotQA", ("colour", "turn")),
    "2_needle": ("findNeedle", ("shape", "exists")),
    "3_ego": ("ego", ("direction",)),
    "4_count": ("count", ("count",)),
    "5_order": ("order", ("first", "second", "last")),
    "6_anomaly_reco": ("anomaly_reco", ("action", "mover")),
    "7_topic_reasoning": ("topic_reasoning", ("after", "before", "when")),
}


def mlvu(clips: int, world: WorldOptions) -> Part:
    """MLVU's development set: the seven tasks with options, a file each; the answer is a text."""
    files: dict[str, list[dict[str, Any]]] = {name: [] for name in _MLVU}
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("bench/mlvu", "shifted", world, clips):
        name, (kind, kinds) = list(_MLVU.items())[index % len(_MLVU)]
        for q in ask_several(scene, rng, "multi_choice", 1, kinds=kinds, options=4):
            video = f"{kind}_{index}.mp4"
            videos[f"video/{name}/{video}"] = scene
            files[name].append(
                {
                    "video": video,
                    "duration": scene.duration,
                    "question": q.text,
                    "candidates": list(q.options or ()),
                    "answer": q.answer,
                    "question_type": kind,
                }
            )
    return Part({f"json/{name}.json": json.dumps(rows) for name, rows in files.items()}, videos)


_MLVU_TEST: dict[str, tuple[str, tuple[AnswerKind, ...]]] = {
    "TR": ("topic_reasoning", ("when",)),
    "AR": ("anomaly_reco", ("action",)),
    "NQA": ("needleQA", ("shape", "exists")),
    "ER": ("ego", ("direction",)),
    "PQA": ("plotQA", ("colour", "turn")),
    "SQA": ("sportsQA", ("mover",)),
    "AO": ("order", ("first", "second", "last")),
    "AC": ("count", ("count",)),
    "TQA": ("tutorialQA", ("after", "before")),
}


def mlvu_test(clips: int, world: WorldOptions) -> Part:
    """MLVU's test set: the questions, and the letters in a file of their own."""
    rows, answers = list[dict[str, Any]](), list[dict[str, Any]]()
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("bench/mlvu_test", "shifted", world, clips):
        short, (kind, kinds) = list(_MLVU_TEST.items())[index % len(_MLVU_TEST)]
        for q in ask_several(scene, rng, "multi_choice", 1, kinds=kinds, options=6):
            id, video = f"{short}_{index // len(_MLVU_TEST)}", f"test_{kind}_{index}.mp4"
            videos[f"video/{video}"] = scene
            candidates = list(q.options or ())
            rows.append(
                {
                    "video": video,
                    "duration": scene.duration,
                    "question": q.text,
                    "candidates": candidates,
                    "question_type": kind,
                    "question_id": id,
                }
            )
            answers.append({"question_id": id, "question_type": kind, "option": _letter(q)})
    files = {"test_question.json": json.dumps(rows), "test-ground-truth/test_mcq_gt.json": json.dumps(answers)}
    return Part(files, videos)


_LV_TYPES: dict[AskKind, str] = {"count": "temporal grounding", "when": "temporal grounding", "action": "event understanding"}


def lvbench(clips: int, world: WorldOptions) -> Part:
    """LVBench: a line a video; the options stand in the question."""
    lines: list[str] = []
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("bench/lvbench", "shifted", world, clips):
        name = youtube_id("bench/lvbench", index)
        videos[f"{name}.mp4"] = scene
        asked = ask_several(scene, rng, "multi_choice", 2, kinds=FIVE_OPTION_KINDS, options=4)
        qa = [
            {
                "uid": str(10 * index + number),
                "question": "\n".join([q.text, *_lettered(q)]),
                "answer": _letter(q),
                "question_type": sorted({"entity recognition", _LV_TYPES.get(q.kind, "reasoning")}),
                "time_reference": f"00:00-00:{round(scene.duration):02d}",
            }
            for number, q in enumerate(asked)
        ]
        info = {"duration_minutes": 1, "fps": 4.0, "resolution": {"width": 112, "height": 112}}
        lines.append(json.dumps({"key": name, "type": "cartoon", "qa": qa, "video_info": info}))
    return Part({"video_info.meta.jsonl": "".join(f"{line}\n" for line in lines)}, videos)


def vsibench(clips: int, world: WorldOptions) -> Part:
    """VSI-Bench: numbers and letters about scenes of its three collections."""
    rows: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("bench/vsibench", "shifted", world, clips):
        collection, name = ("arkitscenes", "scannet", "scannetpp")[index % 3], f"scene{41_000_000 + index}"
        videos[f"{collection}/{name}.mp4"] = scene
        said = {"dataset": collection, "scene_name": name}
        kind = scene.shows[0].kind
        count, size = sum(show.kind == kind for show in scene.shows), scene.shows[0].size
        asked: list[tuple[str, str, str, Sequence[str] | None]] = [
            ("object_counting", f"How many {kind} shapes are in this video?", str(count), None),
            ("object_size_estimation", f"How many pixels wide is the first {kind}?", str(size), None),
        ]
        kinds: dict[str, AnswerKind] = {"obj_appearance_order": "first", "object_rel_direction_easy": "direction"}
        for type, choice in kinds.items():
            most = 2 if type.endswith("easy") else 4
            for q in ask_several(scene, rng, "multi_choice", 1, kinds=(choice,), options=most):
                asked.append((type, q.text, _letter(q), lettered(q)))
        for type, question, gold, lines in asked:
            row = {"question_type": type, "question": question, "ground_truth": gold, "options": lines}
            rows.append({"id": len(rows)} | said | row)
    return Part({"test.jsonl": "".join(f"{json.dumps(row)}\n" for row in rows)}, videos)


_TRACKS = ("Perception", "Comprehension", "Adaptation")
_SUBJECTS = {"Art_Theory": "Art", "Biology": "Science", "Pharmacy": "Medicine", "Accounting": "Business"}


def videommmu(clips: int, world: WorldOptions) -> Part:
    """Video-MMMU: a file a track; every fifth question of the last is open and has a number for an answer."""
    tracks: dict[str, dict[str, dict[str, Any]]] = {track: {} for track in _TRACKS}
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("bench/videommmu", "shifted", world, clips):
        subject = list(_SUBJECTS)[index % len(_SUBJECTS)]
        name = f"validation_{subject}_{index}"
        videos[f"{_SUBJECTS[subject]}/{name}.mp4"] = scene
        videos[f"question_only/{name}_image.mp4"] = scene
        asked = ask_several(scene, rng, "multi_choice", 3, kinds=FIVE_OPTION_KINDS)
        for track, q in zip(_TRACKS, asked, strict=False):
            is_open = track == "Adaptation" and index % 5 == 0
            question, options, answer = q.text, list(q.options or ()), _letter(q)
            if is_open:
                question, options, answer = "How many shapes are shown?", [], str(len(scene.shows))
            tracks[track][str(len(tracks[track]))] = {
                "id": name,
                "link_selected": f"https://www.youtube.com/watch?v={youtube_id('bench/videommmu', index)}",
                "question": f"{question} <image 1>" if track == "Adaptation" else question,
                "options": options,
                "answer": answer,
                "question_type": "open" if is_open else "multiple-choice",
            }
    return Part({f"{track.lower()}_video.json": json.dumps({track: rows}) for track, rows in tracks.items()}, videos)
