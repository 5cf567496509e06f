"""Online selection: its rules by hand, its choices over slots and passes, and its state from the history alone."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from test_economy import changed
from test_grpo import invented_rewards, recipe, run  # noqa: F401

from trlt.engine.forest import Completion
from trlt.errors import DataError, RecipeError, ResumeError
from trlt.recipe import Curriculum, Near, Online, Replay, Reprobe, Skip, Train, load_recipe
from trlt.task.score import Scores
from trlt.train.given_answers import source_of
from trlt.train.online.choice import Chooser
from trlt.train.online.curriculum import moved
from trlt.train.online.estimates import Estimates
from trlt.train.online.exchange import exchanged
from trlt.train.online.history import FILE, AskedGroup, History, cut_history, score_of
from trlt.train.online.probed import read_probe
from trlt.train.online.replay import ReplayBuffer, rare
from trlt.train.online.selection import OnlineSelection
from trlt.train.online.shuffles import Passes, lazily_shuffled
from trlt.train.online.skipping import Skipping
from trlt.train.online.staleness import Staleness
from trlt.train.retirement import Retirement, Visit


def group(sample: int, score: float = 0.5, reward_range: float = 1.0, kind: str = "kept", **more: object) -> AskedGroup:
    return AskedGroup(sample, kind, 8, score, 1 + score, reward_range, **more)  # type: ignore[arg-type]


EASY, HARD = {"score": 1.0, "reward_range": 0.0}, {"score": 0.0, "reward_range": 0.0}


def test_greso_asks_less_and_less_and_never_not_at_all():
    made = Skipping(Skip(easy=0.5, hard=0.8, floor=0.1), 100, 0.0)
    assert made.asked_with(0) == 1
    for wanted in (0.5, 0.25, 0.125, 0.1):
        made.see([group(0, **EASY)])
        assert made.asked_with(0) == wanted
    made.see([group(0, **HARD)])
    assert made.asked_with(0) == 0.8, "all right, then all wrong: no row of either"
    made.see([group(0, score=0.0, reward_range=0.01)])
    assert made.asked_with(0) == 1
    wide = Skipping(Skip(), 100, 0.1)
    wide.see([group(0, score=0.0, reward_range=0.01)])
    assert wide.asked_with(0) == 0.5, "a range below train.min_reward_range counts as none"


def test_greso_moves_its_probabilities_from_the_second_epoch_on():
    """Of 0.3, a third is the target of easy ones and two thirds that of hard ones."""
    made = Skipping(Skip(target=0.3), 10, 0.0)
    first = [group(i) for i in range(8)]
    made.see([*first, group(8, **EASY), group(9, **HARD)])
    assert (made.easy, made.hard) == (0.5, 0.5)
    made.see([*first, group(8, **EASY), group(9, **HARD)])
    assert (made.easy, made.hard) == (0.49, 0.51), "0.1 is at its target of 0.1, 0.1 below that of 0.2"
    made.see([*first, group(9, **HARD), group(8, **HARD), group(7, **EASY, kind="probe")])
    assert (made.easy, made.hard) == (0.5, 0.5), "a re-probe is no measure of what is asked"
    for _ in range(60):
        made.see([*first, group(9, **HARD), group(8, **HARD)])
    assert (made.easy, made.hard) == (0.95, 0.05)


def test_a_posterior_follows_the_policy():
    """Begun with 3 of 4 counted twice: Beta(7, 3). Then 2 of 8: Beta(0.5 * 7 + 0.5 + 2, 0.5 * 3 + 0.5 + 6) = Beta(6, 8)."""
    made = Estimates(2, discount=0.5)
    made.begin({0: (3.0, 4)}, weight=2.0)
    assert made.mean().tolist() == [0.7, 0.5]
    made.see([group(0, score=0.25)])
    assert made.mean()[0] == pytest.approx(6 / 14)
    made.see([group(0, score=0.25), group(1, score=1.0)])
    assert made.mean().tolist() == pytest.approx([5.5 / 16, 9 / 10])
    draws = np.stack([made.drawn(np.array([1]), np.random.default_rng(seed)) for seed in range(500)])
    assert abs(draws.mean() - 0.9) < 0.02, "Beta(9, 1)"


def test_the_target_of_adarft():
    settings = Curriculum(difficulty="estimate")
    assert moved(0.2, 0.5, settings) == 0.2
    assert moved(0.2, 0.7, settings) == pytest.approx(0.2 + 0.5 * 0.3799489623)  # tanh(0.4)
    assert moved(0.2, 0.0, settings) == 0 and moved(0.9, 1.0, settings) == 1


def test_scores_are_those_of_the_task():
    assert score_of(Scores(0.0, 1.0, None), None) == 1 and score_of(Scores(1.0, None, 0.3), 0.3) == 0.3
    assert score_of(Scores(1.0, 1.0, 0.5), 0.5) == 0.75


def test_shuffles_are_permutations_and_go_on_from_a_position():
    assert sorted(lazily_shuffled(50, "a")) == [*range(50)]
    assert [*lazily_shuffled(50, "a")] == [*lazily_shuffled(50, "a")] != [*lazily_shuffled(50, "b")]
    firsts = Counter(next(lazily_shuffled(4, str(seed))) for seed in range(2000))
    assert all(430 < firsts[i] < 570 for i in range(4))
    passes = Passes(5, "s")
    taken = [next(passes) for _ in range(13)]
    assert sorted(taken[:5]) == sorted(taken[5:10]) == [*range(5)]
    for position in (0, 4, 5, 7, 10):
        again = Passes(5, "s")
        again.go_to(position)
        assert [next(again) for _ in range(3)] == taken[position : position + 3]


def chooser(samples: int = 20, prompts: int = 4, **more: object) -> Chooser:
    return Chooser(samples, prompts, "s", **{"candidates": None, "distance": None, "chance": None} | more)  # type: ignore[arg-type]


def test_without_a_distance_the_pool_is_passed_in_order():
    made = chooser()
    steps = [made.choose(step, [], set()) for step in range(10)]
    assert sorted(p for choice in steps[:5] for p in choice.prompts) == [*range(20)]
    assert sorted(p for choice in steps[5:] for p in choice.prompts) == [*range(20)]
    made.go_to(steps[2].position)
    assert made.choose(3, [], set()).prompts == steps[3].prompts
    gone = {*range(15)}
    assert set(chooser().choose(0, [], gone).prompts) <= {*range(15, 20)}
    assert len(set(chooser().choose(0, [], {*range(18)}).prompts)) == 4, "those that have left, where there are no others"


def test_skipped_samples_are_passed_and_come_back_when_nothing_else_is_there():
    made = chooser(chance=lambda sample: 0.0 if sample < 10 else 1.0)
    found = made.choose(0, [], set())
    assert all(prompt >= 10 for prompt in found.prompts) and all(sample < 10 for sample in found.skipped)
    never = chooser(chance=lambda sample: 0.0).choose(0, [], set())
    assert len(set(never.prompts)) == 4
    often = chooser(samples=4000, prompts=1000, chance=lambda sample: 0.5).choose(0, [], set())
    assert 850 < len(often.skipped) < 1150, "as many as were asked, give or take three deviations"


def test_nearest_come_first_and_of_equal_ones_those_asked_less():
    distance = lambda candidates, random: np.abs(candidates / 20 - 0.5)  # noqa: E731
    made = chooser(distance=distance)
    choice = made.choose(0, [3], set())
    assert choice.prompts == [3, 10, *choice.prompts[2:]] and set(choice.prompts[2:]) == {9, 11} and choice.replays == 1
    assert made.choose(1, [], {10, 9}).prompts[0] == 11
    flat = chooser(distance=lambda candidates, random: np.zeros(len(candidates)))
    flat.visits[:16] = 1
    assert set(flat.choose(0, [], set()).prompts) == {16, 17, 18, 19}
    few = chooser(distance=distance, candidates=2).choose(0, [], set())
    assert len(few.prompts) == 4 and len(few.further) == 4


def test_slots_do_not_share_their_replacements():
    made = chooser(samples=40)
    choice = made.choose(0, [], {39})
    lines = [[*islice(made.line(0, choice, slot, {39}), 8)] for slot in range(4)]
    assert [line[0] for line in lines] == choice.prompts
    assert len({sample for line in lines for sample in line}) == 32
    everything = [*made.line(0, choice, 1, {39})]
    assert set(everything) == {*range(40)} and 39 in everything[-8:]


def test_stale_samples():
    made = Staleness([4, 2, 0])
    assert made.oldest(2, set()) == [4, 2] and made.oldest(2, {4}) == [2, 0]
    made.see([4, 7])
    assert made.oldest(9, set()) == [2, 0, 4, 7]


def said(text: str, logp: float = -0.25) -> Completion:
    return Completion(text, (1, 2), True, (logp, -0.5))


def test_rare_successes_are_kept_replayed_and_dropped():
    scores, rewards = [0.0, 1.0, 0.7, 0.2], [1.0, 1.9, 2.0, 0.0]
    found = rare([said(text) for text in "abcd"], scores, rewards, most=2)
    assert found == {"text": "c", "tokens": [1, 2], "finished": True, "logps": [-0.25, -0.5]}
    assert rare([said("a")] * 4, scores, rewards, most=1) is None and rare([said("a")], [0.4], [1.0], most=1) is None
    made = ReplayBuffer(Replay(times=2, max_age=10, size=2))
    made.see(0, [group(5, 0.125, rare=found), group(6, 0.125, rare=found)])
    [kept] = made.answers(5)
    assert (kept.text, kept.tokens, kept.logps, source_of(kept)) == ("c", (1, 2), (-0.25, -0.5), "replay")
    assert made.waiting(9, {6}) == [5] and made.waiting(1, set()) == [5]
    made.see(1, [group(5, 0.0, replayed=1)])
    assert made.waiting(9, set()) == [6, 5], "the one that was just used comes last"
    made.see(2, [group(5, 0.0, replayed=1)])
    assert made.answers(5) == [], "used twice"
    made.see(3, [group(6, 0.5)])
    assert len(made) == 0, "4 of 8 succeed now"
    made.see(4, [group(i, 0.125, rare=found) for i in (1, 2, 3)])
    assert made.waiting(9, set()) == [2, 3], "no more than `size`"
    made.see(14, [])
    assert len(made) == 0, "10 steps old"


def test_lines_of_all_processes(monkeypatch):
    other = json.dumps([{"a": "ä"}, {"b": 0.1}]).encode()

    def gather(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() == 1:
            return torch.tensor([int(tensor), len(other)])
        line = torch.zeros_like(tensor)
        line[0, : len(other)] = torch.frombuffer(bytearray(other), dtype=torch.uint8)
        return torch.cat([tensor, line])

    assert exchanged([{"mine": [1]}], gather, torch.device("cpu")) == [{"mine": [1]}, {"a": "ä"}, {"b": 0.1}]


def test_a_history_that_lacks_lines_is_refused(tmp_path):
    history = History(tmp_path, ["a", "b"], writes=True)
    for step in range(3):
        history.write(step, [group(step % 2), group(1, kind="probe", rare={"text": "x"})], {"position": step})
    assert [(step, len(groups), row["position"]) for step, groups, row in history.read(3)] == [(0, 2, 0), (1, 2, 1), (2, 2, 2)]
    assert next(iter(history.read(1)))[1] == [group(0), group(1, kind="probe", rare={"text": "x"})]
    lines = (tmp_path / FILE).read_text().splitlines()
    (tmp_path / FILE).write_text("\n".join([*lines[:3], "torn", *lines[4:]]) + "\n")
    with pytest.raises(ResumeError, match="lines of step 1 are missing or damaged"):
        list(history.read(3))
    cut_history(tmp_path, 1)
    assert len((tmp_path / FILE).read_text().splitlines()) == 3
    with pytest.raises(ResumeError, match="lines of step 1"):
        list(history.read(2))


def test_a_probe_of_other_samples_is_refused(tmp_path):
    scores = [{"format": 1.0, "accuracy": value, "tiou": None} for value in (1.0, 0.0, 1.0, 1.0)]
    row = {"id": "b", "scores": scores, "n": 4}
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "probe.jsonl").write_text(json.dumps(row) + "\n")
    assert read_probe(tmp_path, ["a", "b"]) == {1: (3.0, 4)}
    with pytest.raises(DataError, match="none of its rows is of a sample that is trained on"):
        read_probe(tmp_path, ["c"])
    with pytest.raises(DataError, match=r"train.online.probe: .*no such file"):
        read_probe(tmp_path / "gone", ["c"])


ALL = Online(
    skip=Skip(), near=Near(candidates=3), reprobe=Reprobe(every=2, samples=3), replay=Replay(most=3, share=0.5, times=3)
)
PLAIN = ALL.model_copy(update={"near": None})
CURRICULUM = PLAIN.model_copy(update={"curriculum": Curriculum(difficulty="estimate", candidates=None)})


def selection(folder, online=ALL, samples: int = 30, **more: object) -> tuple[OnlineSelection, Retirement]:
    ids = [f"s{i}" for i in range(samples)]
    train = Train(prompts_per_step=6, group_size=8, online=online, retire_after=2, min_reward_range=0.1)
    retirement = Retirement(folder, ids, 2, writes=True)
    return OnlineSelection(online, train, folder, ids, retirement, **more), retirement  # type: ignore[arg-type]


def simulated(made: OnlineSelection, retirement: Retirement, steps: range) -> list[object]:
    """Steps with invented groups; gives what each one asked, and what was told of it."""
    told: list[object] = []
    for step in steps:
        slots = made.slots(step, range(6))
        asked = made.coming(step, range(6))
        for slot in slots:
            sample = next(slot.prompts)
            value = ((sample * 7 + step) % 9) / 8 if sample % 3 else float(sample % 2)
            kept = {"text": "t", "tokens": [sample, step], "finished": True, "logps": [-0.1, -0.1 * step]}
            spread = 0.0 if value in (0, 1) else 1.0
            slot.notes.append(group(sample, value, spread, rare=kept if value == 0.125 else None))
        retirement.see(step, [Visit(note.sample, note.mean, note.reward_range) for slot in slots for note in slot.notes])
        metrics = made.learn(step, lambda tensor: tensor, torch.device("cpu"))
        told.append((asked, {key: value for key, value in metrics.items() if not key.startswith("time/")}))
    return told


@pytest.mark.parametrize("online", [ALL, PLAIN, CURRICULUM], ids=["near", "order", "curriculum"])
def test_a_resumed_selection_goes_on_as_the_other(tmp_path, online):
    whole, told = tmp_path / "whole", tmp_path / "resumed"
    whole.mkdir()
    told.mkdir()
    wanted = simulated(*selection(whole, online), range(12))
    assert simulated(*selection(told, online), range(7)) == wanted[:7]
    cut_history(told, 5)
    lines = (told / "difficulty.jsonl").read_text().splitlines(keepends=True)
    (told / "difficulty.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] < 5))
    made, retirement = selection(told, online)
    retirement.resume(5)
    made.resume(5)
    assert simulated(made, retirement, range(5, 12)) == wanted[5:]
    assert (told / FILE).read_text() == (whole / FILE).read_text()


def test_what_left_comes_back_when_its_answers_differ_again(tmp_path):
    made = Retirement(tmp_path, ["a", "b"], 1, writes=True)
    made.see(0, [Visit(0, 1.0, 0.0), Visit(1, 0.0, 0.0)])
    assert made.left == {0, 1}
    assert made.come_back(1, [Visit(0, 1.5, 0.5), Visit(1, 0.0, 0.0)]) == ["a"] and made.left == {1}
    again = Retirement(tmp_path, ["a", "b"], 1, writes=False)
    again.resume(2)
    assert again.left == {1}
    again.resume(1)
    assert again.left == {0, 1}


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["train.online={}"], "train.online: is empty; set one of"),
        (["train.online={near: {}, curriculum: {difficulty: estimate}}"], "both say which prompts come next"),
        (["train.online={curriculum: {}}"], "train.online.curriculum orders samples by their difficulty"),
        (["train.online={skip: {}}", "train.method=sft"], "train.method: sft has none"),
        (["train.online={replay: {most: 8}}"], r"train.online.replay.most \(8\) must be below train.group_size \(8\)"),
    ],
)
def test_fields_that_say_nothing_or_too_much(sets, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(None, sets=sets)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_training_with_all_of_it(tiny_path, training_data, recipe, tmp_path):  # noqa: F811
    """Scores of a random model are all 0, so no success is replayed; rewards are invented (`test_grpo`)."""
    chosen = changed(recipe, online=ALL, retire_after=1, min_reward_range=0.5)
    _, rows, _ = run(tiny_path, training_data, chosen, tmp_path)
    asked = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [row["online/groups"] for row in rows] == [
        sum(r["step"] == i and r["kind"] != "chosen" for r in asked) for i in range(4)
    ]
    assert [sum(r["step"] == i and r["kind"] == "kept" for r in asked) for i in range(4)] == [4] * 4
    assert [row["online/probes"] for row in rows] == [0, 0, 3, 0] and any(r["kind"] == "tried" for r in asked)
    assert all(row["online/completions"] == 4 * row["online/groups"] for row in rows)


def test_a_curriculums_difficulty_is_that_of_the_probe_alone(tmp_path) -> None:
    """1 minus the mean score: of 8 answers and of 2, whatever the estimates begin with; a half without a probe."""
    probe = tmp_path / "probe/rows"
    probe.mkdir(parents=True)
    scored = {"a": [1.0] * 6 + [0.0] * 2, "b": [0.0] * 2, "c": [1.0] * 2}
    with (probe / "probe.jsonl").open("w") as rows:
        for id, accuracies in scored.items():
            given = [{"format": 1.0, "accuracy": value, "tiou": None} for value in accuracies]
            rows.write(json.dumps({"id": id, "scores": given, "n": len(given)}) + "\n")
    chosen = {}
    for target in (0.0, 0.25, 0.5, 1.0):
        settings = Online(probe=str(probe.parent), probe_weight=3.0, curriculum=Curriculum(start=target, candidates=None))
        train = Train(prompts_per_step=1, group_size=2, online=settings)
        online = OnlineSelection(
            settings, train, tmp_path, list("abcd"), Retirement(tmp_path, list("abcd"), None, writes=False)
        )
        [chosen[target]] = online.coming(0, range(1))
    assert chosen == {0.0: 2, 0.25: 0, 0.5: 3, 1.0: 1}
