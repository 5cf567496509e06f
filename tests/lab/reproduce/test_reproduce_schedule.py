"""Order, limits, failures and interrupts, with work that only pretends."""

from __future__ import annotations

import pytest
from reproduce_plans import small

from trlt.lab.reproduce.schedule import work
from trlt.lab.reproduce.stages import runs


class Pretend:
    """Work that takes so many looks."""

    def __init__(self, fault, looks, starter, place):
        self.fault, self.looks, self.starter, self.place, self.stopped = fault, looks, starter, place, False

    def poll(self):
        self.looks -= 1
        if self.looks > 0:
            return None
        self.starter.going.discard(self.place)
        return self.fault

    def stop(self):
        self.stopped = True


class Starter:
    def __init__(self, done=(), faults=None, looks=1):
        self.done, self.faults, self.looks = set(done), faults or {}, looks
        self.started, self.going, self.most, self.works = [], set(), 0, []

    def is_done(self, stage):
        return stage.place in self.done

    def start(self, stage):
        assert stage.place not in self.started, "nothing is begun twice"
        self.started.append(stage.place)
        self.going.add(stage.place)
        self.most = max(self.most, len(self.going))
        self.works.append(Pretend(self.faults.get(stage.label, ""), self.looks, self, stage.place))
        return self.works[-1]


class Listener:
    def __init__(self):
        self.stages, self.finished_runs, self.failed_runs = [], [], []

    def stage(self, stage, done, of):
        self.stages.append((stage.place, done, of))

    def finished(self, run):
        self.finished_runs.append((run.arm, run.seed))

    def failed(self, run, stage, error):
        self.failed_runs.append((run.arm, run.seed, stage.label, error))


@pytest.fixture
def made(tmp_path):
    return runs(small(tmp_path), "plan", ["base", "sft", "tvg"], [0, 1])


def go(made, starter, jobs=2):
    listener = Listener()
    work(made, starter, listener, jobs=jobs, pause=lambda seconds: None)
    return listener


def test_everything_is_done_once_and_after_what_it_needs(made):
    starter = Starter()
    listener = go(made, starter)
    stages = {stage.place: stage for run in made for stage in run.stages}
    assert sorted(starter.started) == sorted(stages)
    for place, stage in stages.items():
        assert all(starter.started.index(needed.place) < starter.started.index(place) for needed in stage.needs)
    assert sorted(listener.finished_runs) == sorted((run.arm, run.seed) for run in made) and not listener.failed_runs
    assert [done for _, done, _ in listener.stages] == list(range(1, len(stages) + 1))


def test_one_at_a_time_goes_run_by_run(made):
    starter = Starter()
    listener = go(made, starter, jobs=1)
    expected = list(dict.fromkeys(stage.place for run in made for stage in run.stages))
    assert starter.started == expected and starter.most == 1
    assert listener.finished_runs == [("base", 0), ("sft", 0), ("tvg", 0), ("base", 1), ("sft", 1), ("tvg", 1)]


@pytest.mark.parametrize("jobs", [2, 3])
def test_never_more_than_jobs_at_a_time(made, jobs):
    starter = Starter(looks=3)
    go(made, starter, jobs)
    assert starter.most == jobs


def test_what_is_done_isnt_done_again(made):
    done = [stage.place for stage in made[2].stages]
    starter = Starter(done)
    listener = go(made, starter)
    assert not set(done) & set(starter.started) and len(listener.finished_runs) == 6


def test_a_failure_ends_the_runs_that_need_it_alone(made):
    starter = Starter(faults={"train tvg, seed 0": "no memory"})
    listener = go(made, starter)
    assert listener.failed_runs == [("tvg", 0, "train tvg, seed 0", "no memory")]
    assert sorted(listener.finished_runs) == [("base", 0), ("base", 1), ("sft", 0), ("sft", 1), ("tvg", 1)]
    tuned = {stage.place for name, stage in made[2].parts.items() if name.startswith("eval")}
    assert not tuned & set(starter.started)


def test_a_failure_that_all_share_ends_all(made):
    listener = go(made, Starter(faults={"videos and annotation": "disk full"}))
    assert len(listener.failed_runs) == 6 and not listener.finished_runs


def test_an_interrupt_ends_what_is_being_done(made):
    starter = Starter(looks=10**9)

    def interrupted(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(made, starter, Listener(), jobs=2, pause=interrupted)
    assert starter.works and all(one.stopped for one in starter.works)
