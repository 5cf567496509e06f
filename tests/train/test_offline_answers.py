"""Answers from a file: what can't be used is told with its line, tokens are as the engine's, and means are of the policy."""

from __future__ import annotations

import json

import pytest

from trlt.engine.forest import Completion
from trlt.errors import DataError
from trlt.recipe import Offline, load_recipe
from trlt.task.sample import Sample, Span
from trlt.task.score import Scores
from trlt.train.answer_lines import read_answers
from trlt.train.completion_log import Completions, read_completions
from trlt.train.dynamic_sampling import ScoredGroup, given_metrics, group_metrics
from trlt.train.given_answers import GivenAnswer
from trlt.train.offline_answers import OfflineAnswers

SAMPLES = [Sample(id, "mine", "train", "grounding", "k.mp4", "she opens it", spans=(Span(0, 10),)) for id in ("a", "b")]


class Letters:
    """A builder whose tokens are letters; 0 ends a completion."""

    end_tokens = (0,)

    def __init__(self, opening: str = "") -> None:
        self._opening = opening

    def opening(self, system, user, think):
        return self._opening

    def encode(self, text, opening=""):
        if not text.startswith(opening):
            raise ValueError(f"{text!r} doesn't begin with {opening!r}")
        return [ord(letter) for letter in text.removeprefix(opening)]


def written(tmp_path, *lines):
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def provider(tmp_path, *lines, opening="", **settings):
    offline = Offline(data=str(written(tmp_path, *lines)), **settings)
    found, _ = read_answers(offline, ["a", "b"])
    more = {"form": load_recipe(None).form("train"), "banned": lambda token: token == ord("#"), "limit": 5, "seed": 3}
    return OfflineAnswers(found, SAMPLES, offline, builder=Letters(opening), **more)


@pytest.mark.parametrize(
    ("line", "settings", "told"),
    [
        ({"id": "a"}, {}, r":2: text: expected a string, got None"),
        ({"id": 7, "text": "x"}, {}, r":2: id: expected a string, got 7"),
        ({"id": "a", "text": "x", "logps": [-1, 0.5]}, {}, r":2: logps: expected a list of log-probabilities, none above 0"),
        ({"id": "a", "text": "x"}, {"weights": "truncated"}, r":2: logps: missing, .*take train\.offline\.weights: shaped"),
        ({"id": "a", "text": "x", "logps": [-1.0]}, {}, r":2: logps: 1 of them, and the answer has 2 tokens with the end mark"),
        ({"id": "a", "text": "xxxxx"}, {}, r":2: text: 6 tokens with the end mark, and train\.max_new_tokens is 5; raise it"),
        ({"id": "a", "text": "x#"}, {}, r":2: text: holds a mark of a video"),
        ({"id": "a", "text": "y"}, {"opening": "x"}, r":2: text: 'y' doesn't begin with 'x', as the model's chat template"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line(tmp_path, line, settings, told):
    with pytest.raises(DataError, match=told):
        provider(tmp_path, {"id": "b", "text": "xy", "logps": [-1.0] * (2 if "opening" in settings else 3)}, line, **settings)


def test_a_file_without_an_answer_to_any_sample_is_refused_and_strays_are_told(tmp_path):
    path = written(tmp_path, {"id": "z", "text": "x"}, {"id": "a", "text": "x"})
    found, told = read_answers(Offline(data=str(path)), ["a"])
    assert [line.text for line in found["a"]] == ["x"] and told == f"{path}: 1 answer to no sample of train.data left out"
    with pytest.raises(DataError, match=r"holds 2 answers, and none is to one of the 1 sample of train\.data"):
        read_answers(Offline(data=str(path)), ["q"])
    with pytest.raises(DataError, match="can't be read"):
        read_answers(Offline(data=str(tmp_path / "none.jsonl")), ["q"])


def test_they_are_tokens_with_an_end_and_taken_in_turns_where_there_are_more(tmp_path):
    give = provider(
        tmp_path, *({"id": "a", "text": text} for text in "pqrs"), {"id": "b", "text": "xy", "logps": [-1, -2, -3]}, per_group=2
    )
    assert give(1, 0) == [GivenAnswer("xy", (ord("x"), ord("y"), 0), True)] and give(1, 0)[0].logps == (-1, -2, -3)
    turns = [tuple(one.text for one in give(0, step)) for step in range(20)]
    assert turns == [tuple(one.text for one in give(0, step)) for step in range(20)], "by seed and step alone"
    assert all(len(set(some)) == 2 for some in turns) and {text for some in turns for text in some} == set("pqrs")


def test_means_are_of_what_the_policy_drew(tmp_path):
    said = (Completion("own", (1, 2), False), Completion("too", (1, 2, 3, 4), True), GivenAnswer("given", (9,) * 9, True))
    scores = tuple(Scores(format=value, accuracy=None, tiou=value) for value in (0.0, 0.5, 1.0))
    group = ScoredGroup(0, _Video(), said, scores, (0.0, 1.0, 4.0), advantages=(-1.0, 0.0, 1.0))
    told = group_metrics([group])
    assert told["reward"] == [0, 1] and told["length"] == [2, 4] and told["truncated_frac"] == [1, 0]
    assert told["reward/tiou"] == [0, 0.5] and told["reward_range"] == [4], "what the group teaches is of all of it"
    assert given_metrics([group]) == {"given/reward": [4.0], "given/share": [0, 0, 1]}
    Completions(tmp_path, SAMPLES, given=True).add(1, [group])
    rows = read_completions(tmp_path).to_pylist()
    assert [(row["given"], row["advantage"]) for row in rows] == [(None, -1), (None, 0), ("offline", 1)]


class _Video:
    """Of a group, what metrics ask for."""

    class clip:
        tokens = 4
