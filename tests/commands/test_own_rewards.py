"""Own parts of the reward on the command line: probe, select, train, eval and `trlt reward try`, with values by hand."""

from __future__ import annotations

import json
import statistics

import pytest
from typer.testing import CliRunner

from trlt.cli import app
from trlt.engine.forest import Engine
from trlt.errors import RecipeError
from trlt.files import file_digest
from trlt.recipe import Recipe
from trlt.task.sample import read_samples
from trlt.train.completion_log import read_completions
from trlt.train.run_plan import refuse_what_cannot_fit

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

REWARD = '''
"""Pays for long answers, except in multi-choice, and notes what it was given together."""

from pathlib import Path


def long(sample, text, answer, scores):
    return None if sample.task == "multi_choice" else len(text) / 64


async def last(samples, texts, answers, scores):
    with Path("calls.txt").open("a") as file:
        file.write(f"{len(texts)}\\n")
    return [sum(map(ord, text)) % 7 for text in texts]
'''
RECIPE = """
name: own
model: {{path: {model}, dtype: float32, device: cpu}}
video: {{root: {videos}, max_tokens: 32, workers: 0}}
reward:
  parts:
    - {{file: my_reward.py, function: long, weight: 0.5}}
    - {{file: my_reward.py, function: last, weight: -2}}
probe: {{n: 4, max_new_tokens: 6}}
select: {{by: variance, hard: 0, easy: 4}}
train:
  prompts_per_step: 2
  group_size: 4
  max_new_tokens: 8
  max_steps: 1
  save_steps: 1
  gradient_checkpointing: false
eval: {{max_new_tokens: 6}}
"""
PARTS = "reward.parts=[{file: my_reward.py, function: FUNCTION}]"


def paid(task, text):
    """What the two functions give for a completion, and the reward of one that has earned nothing else."""
    long, last = None if task == "multi_choice" else len(text) / 64, float(sum(map(ord, text)) % 7)
    return long, last, (0.0 if long is None else 0.5 * long) - 2 * last


@pytest.fixture
def own(tmp_path, tiny_path, clips_and_samples):
    """A recipe with two parts and eight samples, in the working directory."""
    (tmp_path / "my_reward.py").write_text(REWARD)
    (tmp_path / "r.yaml").write_text(RECIPE.format(model=tiny_path, videos=clips_and_samples.videos))
    lines = clips_and_samples.samples.read_text().splitlines(keepends=True)
    (tmp_path / "s.jsonl").write_text("".join(lines[:8]))
    return tmp_path


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def function(own, text, name="near"):
    """Replaces the file by one with this body, and gives the flags that name it alone."""
    (own / "my_reward.py").write_text(text)
    return ["--set", PARTS.replace("FUNCTION", name)]


def fails(*args):
    """A failing command's exit code and stderr, which may hold a traceback."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr


PROBE = ["probe", "--data", "s.jsonl", "--recipe", "r.yaml", "--out", "p"]


@pytest.mark.slow
def test_probe_select_train_and_eval_pay_alike(trlt, own, bench):
    trlt(*PROBE)
    found = rows(own / "p/rows/probe.jsonl")
    assert len(found) == 8 and {row["task"] for row in found} == {"multi_choice", "grounding", "grounded_qa"}
    for row in found:
        wanted = [paid(row["task"], text) for text in row["texts"]]
        assert row["parts"] == {"long": [one[0] for one in wanted], "last": [one[1] for one in wanted]}
        assert not any(one["format"] or one["accuracy"] or one["tiou"] for one in row["scores"]), "a random model earns nothing"
        assert row["rewards"] == pytest.approx([one[2] for one in wanted], abs=1e-12)
    assert (own / "calls.txt").read_text().split() == ["4"] * 8, "a sample's completions together"

    trlt("select", "--probe", "p", "--recipe", "r.yaml", "--out", "train.jsonl", "--set", "select.budget=4")
    spread = {row["id"]: round(statistics.pstdev(row["rewards"]), 9) for row in found}
    taken = {one.id for one in read_samples(own / "train.jsonl")}
    for task in ("multi_choice", "grounding", "grounded_qa"):
        mine = {row["id"] for row in found if row["task"] == task}
        rest = mine - taken
        assert not (mine & taken) or not rest or min(spread[id] for id in mine & taken) >= max(spread[id] for id in rest)

    (own / "calls.txt").unlink()
    result = trlt("train", "r.yaml", "--data", "train.jsonl", "--out", "t", "--json")
    [step] = rows(own / "t/log.jsonl")
    table = read_completions(own / "t").to_pylist()
    assert len(table) == 8 and (own / "calls.txt").read_text().split() == ["8"], "both groups of the step together"
    for row in table:
        long, last, reward = paid(row["task"], row["text"])
        assert (row["reward/long"], row["reward/last"]) == (long, last) and row["reward"] == pytest.approx(reward, abs=1e-12)
    given = [row["reward/long"] for row in table if row["reward/long"] is not None]
    assert step["reward/last"] == pytest.approx(statistics.fmean(row["reward/last"] for row in table), abs=1e-7)
    assert step.get("reward/long") == (pytest.approx(statistics.fmean(given), abs=1e-7) if given else None)
    assert step["reward"] == pytest.approx(statistics.fmean(row["reward"] for row in table), abs=1e-7)
    digest = file_digest(own / "my_reward.py")
    card = (own / "t/model/README.md").read_text().replace("\\", "")
    assert f"| reward's own parts | long, weight 0.5 (my_reward.py, SHA-256 {digest}); last, weight -2 (" in card

    where = ["--annotations", bench, "--videos", bench, "--model", result["model"]]
    results = trlt("eval", "-b", "charades", *where, "--recipe", "r.yaml", "--out", "e", "--json")
    for row in rows(own / "e/rows/charades.jsonl"):
        [text] = row["texts"]
        long, last, reward = paid("grounding", text)
        assert row["parts"] == {"long": [long], "last": [last]} and row["rewards"] == pytest.approx([reward], abs=1e-12)
    [first, second] = results["protocol"]["reward_parts"]
    assert (first["name"], first["weight"], first["files"]) == ("long", 0.5, {"my_reward.py": digest})
    assert (second["name"], second["weight"]) == ("last", -2)


def test_a_run_is_not_resumed_with_another_file(trlt, own):
    """By content: a file that was moved is the same."""
    trlt(*PROBE, "--set", "probe.n=2")
    command = [*PROBE, "--set", "probe.n=2"]
    text = (own / "my_reward.py").read_text()
    (own / "my_reward.py").write_text(text + "# new\n")
    told = trlt(*command, code=7)
    assert "reward part long: my_reward.py changed\n" in told and "reward part last: my_reward.py changed" in told
    (own / "my_reward.py").write_text(text)
    trlt(*command)
    (own / "there").mkdir()
    (own / "my_reward.py").rename(own / "there/my_reward.py")
    recipe = (own / "r.yaml").read_text().replace("file: my_reward.py", "file: there/my_reward.py")
    (own / "r.yaml").write_text(recipe)
    assert trlt(*command, "--json")["summary"]["resumed"] == 8
    (own / "r.yaml").write_text(recipe.replace("weight: 0.5", "weight: 0.25"))
    assert "reward part long: weight 0.5 -> 0.25" in trlt(*command, code=7)
    told = trlt(*command, "--set", "reward.parts=[{name: tiou}]", code=7)
    assert "reward part long: is gone" in told and "reward part tiou: is new" in told


def test_a_training_is_not_resumed_with_another_file(trlt, own):
    command = ["train", "r.yaml", "--data", "s.jsonl", "--out", "t"]
    trlt(*command)
    (own / "my_reward.py").write_text(REWARD.replace("64", "65"))
    assert "reward part long: my_reward.py changed" in trlt(*command, code=7)


def test_select_says_where_rows_were_rewarded_otherwise(trlt, own):
    trlt(*PROBE)
    (own / "my_reward.py").write_text(REWARD + "# new\n")
    command = ["select", "--probe", "p", "--recipe", "r.yaml"]
    told = trlt(*command, code=3)
    assert "rewarded otherwise than by this recipe" in told and "reward part long: my_reward.py changed" in told
    result = CliRunner().invoke(app, [*command, "--by", "random"])
    assert result.exit_code == 0 and "reward part long: my_reward.py changed" in result.stderr
    assert "reward part" not in CliRunner().invoke(app, ["select", "--probe", "p", "--by", "variance"]).stderr, (
        "the probe's recipe"
    )


AWAY = """
from pathlib import Path

def near(sample, text, answer, scores):
    if sample.id == {id!r} and not Path("up").exists():
        raise ConnectionError("the judge is away")
    return 0.25
"""


def test_an_exception_is_its_samples_and_no_answer_is_lost(trlt, own, monkeypatch):
    """With --retry-errors the kept answers are graded; the model isn't asked."""
    bad = read_samples(own / "s.jsonl")[3].id
    flags = function(own, AWAY.format(id=bad))
    result = trlt(*PROBE, *flags, "--json")
    found = {row["id"]: row for row in rows(own / "p/rows/probe.jsonl")}
    assert result["summary"]["errors"] == 1 and result["summary"]["rows"] == 8
    error = "reward part near: ConnectionError: the judge is away (at my_reward.py:6)"
    assert found[bad]["error"] == error and found[bad]["rewards"] == [] and len(found[bad]["ungraded"]["said"]) == 4
    assert all(row["parts"] == {"near": [0.25] * 4} for id, row in found.items() if id != bad)
    [trace] = result["summary"]["unforeseen"]
    assert trace.startswith("Traceback") and "in near" in trace and "trlt/task" not in trace
    again = trlt(*PROBE, *flags, "--json")
    assert again["summary"]["errors"] == 1 and again["summary"]["resumed"] == 8, "the same command leaves it"

    (own / "up").touch()
    stream = Engine.stream
    asked = []
    monkeypatch.setattr(
        Engine, "stream", lambda self, trees, *a, **k: stream(self, (asked.append(t) or t for t in trees), *a, **k)
    )
    again = trlt(*PROBE, *flags, "--retry-errors", "--json")
    mended = {row["id"]: row for row in rows(own / "p/rows/probe.jsonl")}
    assert again["summary"]["errors"] == 0 and again["summary"]["tokens"] == 0 and not asked
    assert mended[bad]["texts"] == [one["text"] for one in found[bad]["ungraded"]["said"]]
    assert mended[bad]["parts"] == {"near": [0.25] * 4} and "ungraded" not in mended[bad]
    assert list(mended) == [one.id for one in read_samples(own / "s.jsonl")]
    trlt(*PROBE[:-1], "q", *flags)
    assert (own / "q/rows/probe.jsonl").read_text() == (own / "p/rows/probe.jsonl").read_text()


def test_most_samples_failing_ends_the_run_with_the_functions_traceback(trlt, own, clips_and_samples, monkeypatch):
    monkeypatch.setattr("trlt.errors.faults.MOST", 4)
    flags = function(own, "def near(sample, text, answer, scores):\n    return text[10 ** 6]\n")
    code, told = fails(*PROBE, *flags)
    assert code == 1 and "error: 4 samples met unforeseen errors at a step that 0 passed, so the run ends" in told
    assert "If the function is at fault, mend it" in told and "report it" not in told
    assert 'my_reward.py", line 2, in near\n    return text[10 ** 6]' in told and told.rstrip().endswith("out of range")
    code, told = fails("train", "r.yaml", "--data", "s.jsonl", "--out", "t", *flags, "--set", "train.max_broken=1")
    assert code == 1 and "error: 4 samples met unforeseen errors" in told and "--retry-errors" not in told
    assert 'my_reward.py", line 2, in near' in told


@pytest.mark.slow
def test_a_sample_that_cannot_be_rewarded_is_listed_and_replaced(trlt, own):
    """In training; whichever comes first."""
    flags = function(
        own,
        "def near(samples, texts, answers, scores):\n    if any(one.task == 'multi_choice' for one in samples):\n"
        "        raise ValueError('no options')\n    return [len(text) for text in texts]\n",
    )
    steps = ["train", "r.yaml", "--data", "s.jsonl", *flags, "--set", "train.max_steps=3", "--set"]
    trlt(*steps, "train.max_broken=1", "--out", "t")
    kinds = {one.id: one.task for one in read_samples(own / "s.jsonl")}
    broken = rows(own / "t/broken.jsonl")
    assert broken and {kinds[one["id"]] for one in broken} == {"multi_choice"}
    assert {one["error"] for one in broken} == {"reward part near: ValueError: no options (at my_reward.py:3)"}
    table = read_completions(own / "t").to_pylist()
    assert len(table) == 24 and all(row["reward/near"] == row["reward"] == len(row["text"]) for row in table)
    code, told = fails(*steps, "train.max_broken=0", "--out", "u")
    assert code == 1 and "above train.max_broken (0)" in told and "no options (at my_reward.py:3)" in told


def test_a_function_that_raises_for_all_is_not_blamed_on_videos(trlt, own, bench, tiny_path):
    """In every command; and the kept answers can be tried with the mended function."""
    flags = function(own, "def near(sample, text, answer, scores):\n    return answer.nothing\n")
    fault = "reward part near: AttributeError: 'Answer' object has no attribute 'nothing' (at my_reward.py:2)"
    where = ["--annotations", bench, "--videos", bench, "--model", tiny_path, "--recipe", "r.yaml", "--out", "e"]
    for command in (PROBE, ["infer", "s.jsonl", "--recipe", "r.yaml", "--out", "i"], ["eval", "-b", "charades", *where]):
        code, told = fails(*command, *flags)
        said = told[told.index("error: ") :]
        assert code == 1 and fault in said and "one of your reward functions raised" in said, said
        assert "`trlt reward try FILE --probe" in said and "mended file makes another run" in said and "video" not in said
    code, told = fails("train", "r.yaml", "--data", "s.jsonl", "--out", "t", *flags)
    said = told[told.rindex("error: ") :]
    assert code == 1 and fault in said and "one of your reward functions raised" in said and "trlt reward try" in said
    assert "video" not in said
    (own / "my_reward.py").write_text("def near(sample, text, answer, scores):\n    return len(text)\n")
    [near] = trlt("reward", "try", "my_reward.py", "--probe", "p", "--json")["parts"]
    assert (near["values"], near["errors"]) == (32, 0), "eight samples, four answers each"


@pytest.mark.parametrize("command", ["probe", "train"])
def test_what_is_no_reward_ends_the_run(trlt, own, command):
    flags = function(own, "def near(sample, text, answer, scores):\n    return float('nan')\n")
    command = PROBE if command == "probe" else ["train", "r.yaml", "--data", "s.jsonl", "--out", "t"]
    told = trlt(*command, *flags, code=1)
    assert told.startswith("my_reward.py:1: near gave nan for sample '") and "give a finite number, or None" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def near(sample text): pass\n", "my_reward.py:1: not Python"),
        (
            "def near(sample, text): pass\n",
            "my_reward.py:1: near takes (sample, text); a part of the reward takes (sample, text, ",
        ),
        ("def neer(sample, text, answer, scores): pass\n", "my_reward.py: has no function 'near'; did you mean neer?"),
        ("import nothing_such\n", "my_reward.py:1: ModuleNotFoundError"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_before_a_model_is_loaded(trlt, own, bench, text, told):
    flags = ["--recipe", "r.yaml", *function(own, text), "--model", "no/such/model"]
    assert told in trlt("probe", "--data", "s.jsonl", *flags, code=2)
    assert told in trlt("probe", "--data", "s.jsonl", "--estimate", *flags, code=2)
    assert told in trlt("train", "r.yaml", "--data", "s.jsonl", *flags[2:], code=2)
    assert told in trlt("train", "r.yaml", "--data", "s.jsonl", "--dry-run", *flags[2:], code=2)
    assert told in trlt("eval", "-b", "charades", "--annotations", bench, "--videos", bench, *flags, code=2)
    assert told in trlt("infer", "s.jsonl", *flags, code=2)
    assert not (own / "runs").exists()


def test_predictions_are_rewarded_too(trlt, own, bench, write_jsonl):
    ids = ["AAAAA:0", "AAAAA:1", "BBBBB:2", "BBBBB:3"]
    write_jsonl(own / "p.jsonl", [{"id": id, "text": "x" * 32} for id in ids])
    where = ["--annotations", bench, "--predictions", "p.jsonl", "--recipe", "r.yaml", "--out", "e"]
    trlt("eval", "-b", "charades", *where)
    wanted = 0.5 * 0.5 - 2 * (32 * 120 % 7)
    assert [row["rewards"] for row in rows(own / "e/rows/charades.jsonl")] == [[wanted]] * 4


# -- what a newcomer types --------------------------------------------------------------------------------------------


def test_train_says_that_the_recipe_is_its_argument():
    result = CliRunner().invoke(app, ["train", "--recipe", "32k"])
    told = " ".join(result.stderr.replace("│", " ").split())
    assert result.exit_code == 2 and "No such option: --recipe; the recipe is this command's argument:" in told
    assert "train RECIPE" in told


def test_train_before_any_data_says_whose_the_file_is(trlt, own):
    train = ["train", "r.yaml", "--set", "train.lora={rank: 2, alpha: 4}"]
    (own / "r.yaml").write_text((own / "r.yaml").read_text().replace("train:\n", "train:\n  data: later.jsonl\n"))
    told = trlt(*train, code=3)
    assert "later.jsonl: there is no such file. It's the train.data of r.yaml" in told
    assert "`trlt prepare`, `probe` and `select`" in told and "by --data" in told
    assert "train.data of" not in trlt(*train, "--data", "typed.jsonl", code=3)


def test_remedies_that_add_adapters_say_what_rate_these_need():
    recipe = Recipe()
    memory = {"fits": False, "peak_gb": 50, "gpu_gb": 24, "changes": ["--set 'train.lora={rank: 64, alpha: 128}'"]}

    def told(recipe, **other):
        with pytest.raises(RecipeError) as error:
            refuse_what_cannot_fit(recipe, {"memory": {**memory, **other}, "processes": 1})
        return str(error.value)

    assert recipe.train.learning_rate == 1e-6
    assert "\nAdapters usually need a higher learning rate than this recipe's 1e-06" in told(recipe)
    assert "--set train.learning_rate=1e-05 (" in told(recipe)
    assert "Adapters" not in told(recipe, changes=["--set train.max_new_tokens=9"])
    higher = recipe.model_copy(update={"train": recipe.train.model_copy(update={"learning_rate": 1e-5})})
    assert "Adapters" not in told(higher)


# -- trlt reward try --------------------------------------------------------------------------------------------------

TRIED = {
    # Rewards without parts: 1.5, 1.25 and 0.
    "a": ["<answer> 0.0 to 5.0 </answer>", "<answer> 0.0 to 2.5 </answer>", "none"],
    # All the same.
    "b": ["short", "a longer one", "the longest of all"],
    # 1.25 and 1.5, which the part makes equal.
    "c": ["<answer> 0.0 to 2.5 </answer>", "<answer> 0.0 to 5.0 </answer>"],
    "d": ["bad"],
}
TRY = '''
def near(sample, text, answer, scores):
    """Turns a's first two around, tells b's apart, and makes c's the same."""
    if text == "bad":
        raise KeyError("d")
    if sample.id == "c":
        return 0.5 if answer.span.end == 2.5 else 0.0
    if text == "none":
        return None
    return 2.0 if answer.span and answer.span.end == 2.5 else len(text) / 100 if sample.id == "b" else 0.0


def flat(samples, texts, answers, scores):
    return [1] * len(texts)
'''


@pytest.fixture
def tried(tmp_path, write_jsonl):
    """A probe's rows, made by hand; one sample has none, and one a row with an error."""
    base = {"source": "s", "split": "train", "task": "grounding", "video": "v.mp4", "question": "when?", "spans": [[0, 10]]}
    write_jsonl(tmp_path / "s.jsonl", [{**base, "id": id} for id in (*TRIED, "e", "f")])
    made = [{"id": id, "error": None, "texts": texts, "task": "grounding"} for id, texts in TRIED.items()]
    write_jsonl(tmp_path / "rows.jsonl", [*made, {"id": "e", "error": "no video", "texts": [], "task": "grounding"}])
    (tmp_path / "my_reward.py").write_text(TRY)
    (tmp_path / "r.yaml").write_text("probe: {think: false}\n")
    return ["reward", "try", "my_reward.py", "--probe", "rows.jsonl", "--data", "s.jsonl", "--recipe", "r.yaml"]


def test_what_functions_would_have_paid(trlt, tried):
    found = trlt(*tried, "--function", "near", "--weight", "0.5", "--json")
    [near] = found["parts"]
    values = [0.0, 2.0, 0.05, 0.12, 0.18, 0.5, 0.0]
    beside = [1.5, 1.25, 0.0, 0.0, 0.0, 1.25, 1.5]
    assert (near["values"], near["none"], near["errors"]) == (7, 1, 1)
    assert (near["min"], near["max"]) == (0.0, 2.0) and near["mean"] == pytest.approx(sum(values) / 7)
    assert near["correlation"] == pytest.approx(statistics.correlation(values, beside))
    assert near["faults"] == ["reward part near: KeyError: 'd' (at my_reward.py:5)"]
    assert (found["samples"], found["row_errors"]) == (3, 1), "d's function raised, e's row has no answers"
    assert (found["zero_before"], found["zero_after"], found["gained"], found["lost"]) == (1, 1, 1, 1)
    # b: three ties that are ties no more, half each; c: one of one, half; a: one of three pairs turned around.
    assert [(one["id"], one["moved"]) for one in found["changed"]] == [("b", 0.5), ("c", 0.5), ("a", pytest.approx(1 / 3))]
    [a] = [one for one in found["changed"] if one["id"] == "a"]
    assert a["before"] == [1.5, 1.25, 0.0] and a["after"] == [1.5, 2.25, 0.0] and a["parts"] == {"near": [0.0, 2.0, None]}


def test_all_functions_of_a_file_and_the_recipes_parts(trlt, tried, tmp_path):
    found = trlt(*tried, "--weight", "0.5", "--weight", "3", "--json")
    assert [(one["name"], one["weight"], one["values"]) for one in found["parts"]] == [("near", 0.5, 7), ("flat", 3, 9)]
    assert found["parts"][1]["correlation"] is None, "always the same"
    shown = trlt(*tried, "--weight", "0.5")
    assert "3 of 3" not in shown and "1 of 3 without the parts, 1 with them (1 gain a difference, 1 lose it)" in shown
    assert "KeyError: 'd'" in shown and "line 5, in near" in shown and "- file: my_reward.py\n    function: flat\n" in shown
    (tmp_path / "r.yaml").write_text(
        "probe: {think: false}\nreward: {parts: [{name: tiou, weight: 2}, {file: my_reward.py, function: flat}]}\n"
    )
    found = trlt(*tried[:2], *tried[3:], "--json")
    assert [(one["name"], one["mean"]) for one in found["parts"]] == [("tiou", pytest.approx(1.5 / 9)), ("flat", 1)]
    assert found["parts"][0]["correlation"] == pytest.approx(
        statistics.correlation([0.5, 0.25, 0, 0, 0, 0, 0.25, 0.5, 0], [1.5, 1.25, 0, 0, 0, 0, 1.25, 1.5, 0])
    )


def test_a_function_whose_every_call_raises_fails_the_trial(trlt, tried, tmp_path):
    """The others' numbers are shown all the same."""
    (tmp_path / "my_reward.py").write_text(TRY + "\n\ndef bug(sample, text, answer, scores):\n    return text.nothing\n")
    result = CliRunner().invoke(app, tried)
    assert result.exit_code == 1 and "In a recipe:" not in result.stdout and "flat" in result.stdout
    assert "error: every call of bug raised" in result.stderr
    line = TRY.count("\n") + 4
    assert f"reward part bug: AttributeError: 'str' object has no attribute 'nothing' (at my_reward.py:{line})" in result.stderr


def test_what_cannot_be_tried_is_told(trlt, tried, tmp_path):
    assert "give a FILE, or a recipe with reward.parts" in trlt(*tried[:2], *tried[3:], code=2)
    assert "has no function 'nea'; did you mean near?" in trlt(*tried, "--function", "nea", code=2)
    assert "3 are given for 2 functions (near, flat)" in trlt(*tried, *["--weight", "1"] * 3, code=2)
    assert "--function and --weight go with a FILE" in trlt(*tried[:2], *tried[3:], "--weight", "1", code=2)
    (tmp_path / "my_reward.py").write_text("def near(sample, text, answer, scores):\n    return 'good'\n")
    assert "my_reward.py:1: near gave 'good' for sample 'a'" in trlt(*tried, code=1)
    (tmp_path / "my_reward.py").write_text("def helper(x):\n    return x\n")
    assert "no function takes (sample, text, answer, scores)" in trlt(*tried, code=2)
    (tmp_path / "s.jsonl").write_text((tmp_path / "s.jsonl").read_text().partition("\n")[2])
    (tmp_path / "my_reward.py").write_text(TRY)
    assert "'a': is a row's, and no sample has that id" in trlt(*tried, code=3)


# -- several processes ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_step_of_two_processes_logs_what_both_have_paid(trlt, own):
    """Each of them runs the file."""
    sets = [f"train.launch.{one}" for one in ("processes=2", "strategy=ddp")]
    trlt("train", "r.yaml", "--data", "s.jsonl", "--out", "t", *(word for one in sets for word in ("--set", one)))
    table = read_completions(own / "t").to_pylist()
    assert {row["rank"] for row in table} == {0, 1}
    [step] = rows(own / "t/log.jsonl")
    assert step["reward/last"] == pytest.approx(statistics.fmean(row["reward/last"] for row in table), abs=1e-7)
    assert all(row["reward"] == pytest.approx(paid(row["task"], row["text"])[2], abs=1e-12) for row in table)
