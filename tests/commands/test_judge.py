"""A judge as a part of the reward: verdicts, what it is asked and kept, faults, and the commands."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from judging import FakeJudge

from trlt.errors import OwnCodeError, RecipeError, ServerError
from trlt.recipe import JudgeServer, Recipe, differences, load_recipe, tells_apart
from trlt.recipe.rewards import Rewards
from trlt.task.grade import Grader
from trlt.task.judge import Judge, verdict
from trlt.task.sample import Sample


def open_question(name: str = "a", answer: str = "a red cup", **more) -> Sample:
    return Sample(name, "own", "train", "multi_choice", "a.mp4", "What does she hold?", answer=answer, **more)


def options_question() -> Sample:
    return Sample("b", "own", "t", "multi_choice", "a.mp4", "Which?", options=("x", "y"), answer="x", answer_index=0)


def said(*answers: str) -> list[str]:
    return [f"<think> hm </think> <answer> {answer} </answer>" for answer in answers]


@pytest.fixture
def judge():
    made = []

    def start(says) -> FakeJudge:
        made.append(FakeJudge(says))
        return made[-1]

    yield start
    for one in made:
        one.close()


def recipe(url: str, **more) -> Recipe:
    served = JudgeServer(**{"model": "j", "url": url, "attempts": 2, **more})
    return Recipe(reward=Rewards(judge=served))


@pytest.mark.parametrize(
    ("reply", "scale", "value"),
    [
        ("yes", "yes_no", 1.0),
        (" No.", "yes_no", 0.0),
        ("**Yes**, both are cups", "yes_no", 1.0),
        ("<think>no... yes, no</think>\nYes", "yes_no", 1.0),
        ("They differ, so no", "yes_no", 0.0),
        ("yes or no?", "yes_no", None),
        ("I'd say yes in general", "yes_no", None),
        ("maybe", "yes_no", None),
        ("", "yes_no", None),
        ("<think>is a mug a cup? yes", "yes_no", None),
        ("8", "0_to_10", 0.8),
        ("Score: 7.5/10", "0_to_10", 0.75),
        ("10 out of 10.", "0_to_10", 1.0),
        ("11", "0_to_10", None),
        ("-3", "0_to_10", None),
        ("between 3 and 5", "0_to_10", None),
        ("yes", "0_to_10", None),
    ],
)
def test_verdicts_are_read_or_are_none(reply, scale, value) -> None:
    assert verdict(reply, scale) == value


def test_it_stands_in_for_the_accuracy_or_pays_besides(judge) -> None:
    server = judge(lambda text: "yes" if "crimson mug" in text else "no")
    asked = [(open_question(), said("a crimson mug", "a red cup", "a dog", "crimson mug") + ["no answer at all"])]
    [instead] = recipe(server.url).grader("eval").grade(asked)
    # Format 1 each but for the last; verdicts yes, the answer itself, no, yes, none.
    assert [one.reward for one in instead] == [2.0, 2.0, 1.0, 2.0, 0.0]
    assert [one.parts["judge"] for one in instead] == [1.0, 1.0, 0.0, 1.0, 0.0]
    assert [one.scores.accuracy for one in instead] == [0.0, 1.0, 0.0, 0.0, 0.0], "the metric stays that of evaluation"
    assert len(server.seen) == 3, "neither the answer itself nor none is asked about"
    body = server.seen[0]
    assert body["temperature"] == 0 and body["model"] == "j" and body["max_tokens"] == 64
    text = body["messages"][0]["content"]
    assert "What does she hold?" in text and "a red cup" in text
    [besides] = recipe(server.url, weight=0.5).grader("eval").grade(asked)
    assert [one.reward for one in besides] == [1.5, 2.5, 1.0, 1.5, 0.0]
    [unasked] = (
        recipe(server.url)
        .grader("eval")
        .grade(
            [
                (
                    Sample(
                        "b", "own", "train", "multi_choice", "a.mp4", "Which?", options=("x", "y"), answer="x", answer_index=0
                    ),
                    said("A"),
                )
            ]
        )
    )
    assert unasked[0].reward == 2.0 and unasked[0].parts == {"judge": None}


def test_a_request_takes_fields_and_loses_others(judge) -> None:
    """What a server of OpenAI's newer models wants, and one that serves Qwen3."""
    server = judge(lambda text: "yes")
    fields = {"max_tokens": None, "temperature": None, "max_completion_tokens": 9, "chat_template_kwargs": {"thinking": False}}
    made = recipe(server.url, request=fields)
    [[graded]] = made.grader("eval").grade([(open_question(), said("a mug"))])
    assert graded.parts == {"judge": 1.0}
    assert set(server.seen[0]) == {"model", "messages", "max_completion_tokens", "chat_template_kwargs"}
    with pytest.raises(ValueError, match="messages is trlt's to set"):
        JudgeServer(model="j", request={"messages": []})
    server.says = lambda text: (400, "Unsupported parameter: 'max_tokens'")
    with pytest.raises(ServerError, match=r"(?s)Unsupported parameter.*reward.judge.request sets fields"):
        JudgeServer(model="j", url=server.url).try_it()


@pytest.mark.parametrize(("reply", "value"), [("yes...", 1.0), ("Yes, but it...", None), ("1...", None)])
def test_a_reply_that_was_cut_off_is_no_verdict_unless_it_is_a_whole_word(judge, reply, value) -> None:
    """`1` may have been about to be 10, and a yes about to be taken back."""
    served = JudgeServer(model="j", url=judge(lambda text: reply).url, scale="0_to_10" if reply[0] == "1" else "yes_no")
    [found] = Recipe(reward=Rewards(judge=served)).grader("eval").outcomes([(open_question(), said("a mug"))])
    if value is None:
        assert isinstance(found, OwnCodeError) and "cut off" in str(found) and "reward.judge.max_new_tokens" in str(found)
    else:
        assert [one.parts for one in found] == [{"judge": value}]


def test_replies_are_kept_and_never_paid_twice(judge, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret-key")
    server = judge(lambda text: "yes")
    made = recipe(server.url, key_env="MY_KEY")
    asked = [(open_question(), said("a mug", "a mug", "the mug")), (open_question("b"), said("a mug"))]
    first = made.grader("eval", replies=tmp_path / "judge").grade(asked)
    assert len(server.seen) == 2, "one request per question, gold and answer"
    assert server.keys == ["Bearer s3cret-key"] * 2
    assert "s3cret" not in "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    server.says = lambda text: "no"
    assert made.grader("eval", replies=tmp_path / "judge").grade(asked) == first and len(server.seen) == 2
    # A second process at work: it reads what the other adds, and a half-written line isn't there.
    one, other = (made.grader("eval", replies=tmp_path / "judge") for _ in range(2))
    one.grade([(open_question(answer="a hat"), said("a cap"))])
    file = sorted((tmp_path / "judge").iterdir())[-1]
    assert json.loads(file.read_text())["reply"] == "no"
    file.write_text(file.read_text() + '{"key": "torn')
    other.grade([(open_question(answer="a hat"), said("a cap"))])
    assert len(server.seen) == 3


def test_faults_are_loud(judge, monkeypatch) -> None:
    server = judge(lambda text: "perhaps" if "a mug" in text else (400, "too long") if "a hat" in text else "no")
    grader = recipe(server.url).grader("eval")
    found = grader.outcomes([(open_question(str(i)), said(word)) for i, word in enumerate(("a mug", "a hat", "a dog"))])
    assert (
        isinstance(found[0], OwnCodeError)
        and "reward part judge" in str(found[0])
        and "no verdict in 'perhaps'" in str(found[0])
    )
    assert "400: too long" in str(found[1]) and found[2][0].reward == 1.0
    turns = iter([(500, "warming up")])
    server.says = lambda text: next(turns, "yes")
    [[one]] = recipe(server.url).grader("eval").grade([(open_question(), said("a mug"))])
    assert one.reward == 2.0, "asked again after a failure"
    server.says = lambda text: (404, "no such model")
    with pytest.raises(ServerError, match=r"404: no such model; is 'j' the name of the model there \(reward.judge.model\)"):
        grader.outcomes([(open_question(), said("a cat"))])
    server.says = lambda text: (401, "who are you")
    with pytest.raises(ServerError, match=r"name the environment variable that holds its key: reward.judge.key_env"):
        recipe(server.url).reward.ready()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ServerError, match=r"reward.judge: http://127.0.0.1:\d+ failed 2 times in a row: .*start the server"):
        recipe(gone).reward.ready()
    with pytest.raises(RecipeError, match=r"reward.judge.url: missing"):
        Recipe(reward=Rewards(judge=JudgeServer(model="j"))).grader("eval")
    with pytest.raises(RecipeError, match=r"reward.judge.key_env: NO_SUCH isn't set"):
        recipe(gone, key_env="NO_SUCH").reward.load()
    with pytest.raises(RecipeError, match=r"holds a user, a password or a query") as shown:
        recipe("http://me:s3cret@there").reward.load()
    assert "s3cret" not in str(shown.value)


def test_model_and_prompt_tell_runs_apart_and_the_address_does_not() -> None:
    a = load_recipe(None, sets=["reward.judge={model: j, url: 'http://a:1'}"])
    b = load_recipe(None, sets=["reward.judge={model: j, url: 'http://b:2', concurrency: 4, timeout_s: 5, key_env: K}"])
    assert differences(a, b) and not tells_apart("train", a, b)
    for change in (
        "model=k",
        "scale=0_to_10",
        "weight=1.0",
        "questions=all",
        "prompt='{{ question }} {{ answer }}?'",
        "max_new_tokens=9",
        "request={top_p: 0.5}",
    ):
        c = load_recipe(None, sets=["reward.judge={model: j, url: 'http://a:1'}", f"reward.judge.{change}"])
        assert tells_apart("train", a, c), change
    with pytest.raises(RecipeError, match=r"reward.judge.prompt: .*shows no \{\{ answer \}\}"):
        load_recipe(None, sets=["reward.judge={model: j, prompt: '{{ question }} right?'}"])
    with pytest.raises(RecipeError, match=r"never the key itself"):
        load_recipe(None, sets=["reward.judge={model: j, key_env: 'sk-123'}"])


def test_numbers_and_options_are_judged_on_request(judge) -> None:
    server = judge(lambda text: "5")
    grader = recipe(
        server.url, scale="0_to_10", questions="all", prompt="{{ question }}|{{ gold }}|{{ answer }}|{{ options | length }}"
    ).grader("eval")
    [[one], [two]] = grader.grade([(options_question(), said("B")), (open_question(answer="12", numeric=True), said("13"))])
    assert (one.reward, two.reward) == (1.5, 1.5)
    assert sorted(body["messages"][0]["content"] for body in server.seen) == ["What does she hold?|12|13|0", "Which?|x|B|2"]


def test_the_command_scores_predictions_by_it_once(trlt, judge, tmp_path) -> None:
    server = judge(lambda text: "yes" if "mug" in text else "no")
    lines = [{"id": f"q{i}", "video": "a.mp4", "question": "What is it?", "answer": "a cup"} for i in range(3)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    texts = said("a mug", "a dog", "a cup")
    given = [json.dumps({"id": f"q{i}", "text": text}) + "\n" for i, text in enumerate(texts)]
    (tmp_path / "said.jsonl").write_text("".join(given))
    command = ["eval", "--data", "mine.jsonl", "--predictions", "said.jsonl", "--set", "reward.judge={model: j}"]
    command += ["--set", f"reward.judge.url={server.url}", "--out", "e"]
    trlt(*command)
    rows = [json.loads(line) for line in next((tmp_path / "e/rows").glob("*.jsonl")).read_text().splitlines()]
    assert [row["parts"]["judge"] for row in rows] == [[1.0], [0.0], [1.0]] and [row["rewards"] for row in rows] == [
        [2],
        [1],
        [2],
    ]
    asked = len(server.seen)
    assert asked == 3, "two answers, and the trial before the run"
    manifest = json.loads((tmp_path / "e/manifest.json").read_text())
    assert manifest["reward"][0]["judge"]["model"] == "j" and server.url not in json.dumps(manifest)
    trlt(*command)
    assert len(server.seen) == asked + 1, "the trial alone"


def test_a_part_is_called_with_lists() -> None:
    part = Recipe(reward=Rewards(judge=JudgeServer(model="j", url="http://h"))).reward.load()[0]
    assert part.in_batches and part.instead and isinstance(part.function, Judge) and isinstance(Grader, type)
    assert Path(part.where).name == "trlt"
