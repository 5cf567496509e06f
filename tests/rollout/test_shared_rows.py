"""Several real processes on one run: the same rows as one, whoever is killed and whenever."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from trlt.errors import ResumeError, VideoError
from trlt.recipe import Probe, Recipe, Video
from trlt.rollout import QuestionSet, Sharing, WorkFiles, read_rows, run
from trlt.rollout.question_sets import by_clip
from trlt.rollout.row import error_row
from trlt.rollout.rows_file import RowFile, encode, unsealed
from trlt.rollout.shared.leases import Gone, Leases, at_work, make, remove
from trlt.rollout.shared.rank_files import prepare, settle
from trlt.rollout.shared.shared_rows import plan
from trlt.rollout.shared.work_files import part_file, work_folder
from trlt.task.sample import Sample, Span

# Imports torch once; each process is then forked from there in a moment.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["trlt.rollout", "trlt.engine.forest", "trlt.video.workers", "pytest", "numpy"])
SETTINGS = Probe(n=2, max_sequences=4)
FIT = 2
"""Samples that are asked at once with these settings."""
QUICK = Sharing(ranks=3, lease_s=30, poll_s=0.02)


def event(id: str, video: str, seconds: float) -> Sample:
    return Sample(id, "made", "train", "grounding", video, "it falls", spans=(Span(0.5, 1.0),), duration=seconds)


def pool(clips: int = 30) -> list[Sample]:
    """One to three samples a clip, not in the order in which they are asked; a tenth of the videos is broken."""
    return [
        event(f"s{q}-{clip}", f"broken{clip}.mp4" if clip % 10 == 9 else f"{clip}.mp4", 2.0 + clip % 7)
        for q in range(3)
        for clip in range(clips)
        if q <= clip % 3
    ]


class Videos:
    """Files that are there, except broken ones."""

    def find(self, video):
        if video.startswith("broken"):
            raise VideoError(f"{video}: can't be read")
        return Path(video)


class Loader:
    """Clips of one picture."""

    waited_s = 0.0

    def map(self, requests):
        from trlt.video.clip import Clip
        from trlt.video.workers import LoadedClip

        clip = Clip.of(np.zeros((2, 3, 28, 28), np.uint8), np.arange(2.0), sample_fps=1.0, duration=2.0)
        for request in requests:
            yield LoadedClip(request, clip)


class Asker:
    """Answers by the name of the sample alone, after some time; notes whom it asked, once it has answered."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.log, self.seconds = folder / "asked", seconds
        self.parity = None

    def stream(self, trees, sampling, *, max_sequences=256, ended=None):
        from trlt.engine.forest import Answered, Completion

        def answers(some):
            time.sleep(random.uniform(0.5, 1.5) * self.seconds)
            done = []
            for t, tree in some:
                for r, request in enumerate(tree.requests):
                    digests = [hashlib.sha256(f"{request.key} {k}".encode()).hexdigest() for k in range(request.n)]
                    texts = [Completion(f"<answer> 0.{d[0]} {d} </answer>", tuple(d.encode()), True) for d in digests]
                    done.append(Answered(t, r, texts))
            with self.log.open("a") as log:
                log.write("".join(f"{request.key}\n" for _, tree in some for request in tree.requests))
            return done

        some, size = [], 0
        for t, tree in enumerate(trees):
            if some and size + sum(request.n for request in tree.requests) > max_sequences:
                yield from answers(some)
                some, size = [], 0
            some.append((t, tree))
            size += sum(request.n for request in tree.requests)
        if some:
            yield from answers(some)


def asked_alike(samples):
    return QuestionSet("", samples, Videos(), Video(), settings=SETTINGS, n=2, grader=Recipe(probe=SETTINGS).grader("probe"))


def go(out: Path, samples, sharing=QUICK, seconds=0.0, **changes):
    return run(
        samples,
        engine=Asker(out.parent, seconds),
        loader=Loader(),
        videos=Videos(),
        settings=SETTINGS,
        n=2,
        grader=Recipe(probe=SETTINGS).grader("probe"),
        out=out,
        sharing=sharing,
        **changes,
    )


def rank(out, clips, sharing, seconds, dies_at=0):
    """What a process does; with `dies_at`, it ends at once when it is about to touch files for that many times."""
    samples = pool(clips)
    if dies_at:
        left = iter(range(dies_at - 1))

        def hook(what, args):
            if what.partition(".")[0] in ("open", "os", "shutil") and str(out.parent) in str(args) and next(left, None) is None:
                os._exit(9)

        sys.addaudithook(hook)
    try:
        go(out, samples, sharing, seconds)
    except KeyboardInterrupt:
        sys.exit(130)


def start(out, *, clips=30, sharing=QUICK, seconds=0.003, dies_at=0):
    process = PROCESSES.Process(target=rank, args=(out, clips, sharing, seconds, dies_at))
    process.start()
    return process


def end(*processes, code=0):
    for process in processes:
        process.join(30)
        assert process.exitcode == code
        process.close()


def rows_of(out: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (*work_folder(out).glob("parts/*"), out) if path.is_file())


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The rows that one process writes, for a number of clips."""
    made = {}

    def get(clips=30):
        if clips not in made:
            out = tmp_path_factory.mktemp("whole") / "rows.jsonl"
            go(out, pool(clips), sharing=None)
            made[clips] = out.read_bytes()
        return made[clips]

    return get


@pytest.fixture
def out(tmp_path):
    (tmp_path / "rows").mkdir()
    return tmp_path / "rows/probe.jsonl"


def left_in(out: Path) -> set[str]:
    return {path.name for path in out.parent.iterdir()} - {"asked"}


def asked(out: Path) -> list[str]:
    log = out.parent / "asked"
    return log.read_text().split() if log.exists() else []


def test_three_processes_write_what_one_writes(out, whole):
    end(*(start(out) for _ in range(3)))
    assert out.read_bytes() == whole()
    assert left_in(out) == {"probe.jsonl"}
    answered = [row["id"] for row in read_rows(out) if row["error"] is None]
    assert sorted(asked(out)) == sorted(answered), "each was asked once"


def test_killed_at_random_moments(out, whole):
    """Ranks are killed and replaced in the midst of it; no row is lost, doubled, or asked again without need."""
    kills = seed = 0
    while kills < 20 or seed < 5:  # on a fast machine a run is over before it is killed often
        seed += 1
        assert seed < 100
        rng = random.Random(seed)
        for path in (out, out.parent / "asked"):
            path.unlink(missing_ok=True)
        ranks, killed = [start(out, seconds=0.01) for _ in range(3)], 0
        for _ in range(9):
            time.sleep(rng.uniform(0.0, 0.08))
            alive = [one for one in ranks if one.is_alive()]
            # Sometimes all of them, so that nobody is left to take over before the next comes.
            for victim in alive if rng.random() < 0.2 else alive[: rng.randrange(len(alive)) + 1][-1:] if alive else []:
                victim.kill()
                victim.join()
                killed += victim.exitcode == -signal.SIGKILL
                ranks.append(start(out, seconds=0.01))
        for one in ranks:
            one.join(30)
            assert one.exitcode in (0, -signal.SIGKILL)
        assert out.read_bytes() == whole(), f"seed {seed}"
        # What was being asked when its rank was killed is asked again, and nothing else.
        answered = sum(row["error"] is None for row in read_rows(out))
        assert answered <= len(asked(out)) <= answered + FIT * killed
        kills += killed
    assert {name for name in left_in(out) if not name.endswith((".new", ".old"))} == {"probe.jsonl"}


def test_killed_before_any_touch_of_a_file(out, whole):
    """A rank dies before its first, second, ... use of a file, up to the last; the next one ends its work."""
    clips = 3
    for dies_at in range(1, 1000):
        out.unlink(missing_ok=True)
        process = start(out, clips=clips, seconds=0, dies_at=dies_at)
        process.join(30)
        code = process.exitcode
        process.close()
        if dies_at % 2 and code:  # by turns, one that shares and one that is alone
            go(out, pool(clips), sharing=None)
        elif code:
            go(out, pool(clips))
        assert out.read_bytes() == whole(clips), f"killed at {dies_at}"
        assert not work_folder(out).exists()
        if not code:
            break
    assert dies_at > 60


def test_one_then_two_and_two_then_one(out, whole):
    alone = start(out, sharing=None, seconds=0.01)
    wait_for(lambda: rows_of(out) >= 10)
    alone.kill()
    alone.join()
    there = rows_of(out)
    both = [start(out), start(out)]
    end(*both)
    assert out.read_bytes() == whole() and 10 <= there < 60

    out.unlink()
    both = [start(out, seconds=0.01), start(out, seconds=0.01)]
    wait_for(lambda: rows_of(out) >= 20)
    for one in both:
        one.kill()
        one.join()
    there = rows_of(out)
    assert not out.exists() and work_folder(out).is_dir()
    summary = go(out, pool(), sharing=None)
    assert out.read_bytes() == whole() and left_in(out) == {"probe.jsonl"}
    assert summary.rows == len(pool()) and summary.errors == 6


def test_one_that_comes_later_takes_part(out, whole):
    first = start(out, seconds=0.03)
    wait_for(lambda: rows_of(out) >= 4)
    summary = go(out, pool(), sharing=None, seconds=0.03)  # wasn't told to share, but sees that others are at work
    end(first)
    assert out.read_bytes() == whole()
    assert 0 < summary.tokens < sum(sum(row["tokens"]) for row in read_rows(out))


def test_two_that_write_alone_are_refused(out, whole):
    first = start(out, sharing=None, seconds=0.02)
    wait_for(lambda: rows_of(out) >= 4)
    with pytest.raises(ResumeError, match=r"probe.jsonl: another process is writing to it; .*--processes"):
        go(out, pool(), sharing=None)
    end(first)
    assert out.read_bytes() == whole()


def test_a_rank_that_stops_delays_nobody_beyond_its_lease(out, whole):
    sharing = Sharing(ranks=2, lease_s=1.0, poll_s=0.05)
    sleeper, other = start(out, sharing=sharing, seconds=0.01), start(out, sharing=sharing, seconds=0.01)
    wait_for(lambda: len(list(work_folder(out).glob("ranks/*"))) == 2 and rows_of(out) >= 6)
    os.kill(sleeper.pid, signal.SIGSTOP)
    began = time.monotonic()
    end(other)
    assert time.monotonic() - began < sharing.lease_s + 3
    assert out.read_bytes() == whole()
    before = out.stat()
    os.kill(sleeper.pid, signal.SIGCONT)
    end(sleeper)
    assert out.stat() == before, "it has slept through the end, and changes nothing"
    assert left_in(out) == {"probe.jsonl"}


def test_interrupted_ranks_leave_at_once(out, whole):
    ranks = [start(out, seconds=0.02) for _ in range(2)]
    wait_for(lambda: rows_of(out) >= 6)
    os.kill(ranks[0].pid, signal.SIGINT)
    end(ranks[0], code=130)
    end(ranks[1])  # long before the lease is over
    assert out.read_bytes() == whole()


def test_errors_are_asked_again_on_request(out, whole, monkeypatch):
    go(out, pool())
    monkeypatch.setattr(Videos, "find", lambda self, video: Path(video))
    assert go(out, pool()).errors == 6
    # An interrupted retry stays one.
    prepare(WorkFiles.single(out, [sample.id for sample in pool()]), retry_errors=True)
    assert go(out, pool()).errors == 0
    rows = list(read_rows(out))
    assert [row["id"] for row in rows] == [sample.id for sample in pool()]
    changed = [row["id"] for row, line in zip(rows, whole().splitlines(), strict=True) if row != unsealed(json.loads(line))]
    assert len(changed) == 6
    log = asked(out)
    assert go(out, pool(), retry_errors=True).resumed == 60 == len(set(log)) == len(log), "there is nothing to ask again"


def test_settling_and_rows_of_others(out):
    samples = pool(3)
    ids = [sample.id for sample in samples]
    make(work_folder(out))
    row = error_row(samples[1], 2, "why")
    part_file(work_folder(out), "old").write_bytes(encode(row) + b'{"id": "s0-0", "tor')
    settle(WorkFiles.single(out, ids))
    assert out.read_bytes() == encode(row) and not work_folder(out).exists()

    make(work_folder(out))
    part_file(work_folder(out), "old").write_bytes(encode({**row, "id": "stranger"}))
    for sharing in (None, QUICK):
        with pytest.raises(ResumeError, match=r"old.jsonl:1: a row of 'stranger'"):
            go(out, samples, sharing=sharing)
    assert at_work(work_folder(out)) == []


def test_marks_without_rows_are_worked_on_again(out, whole):
    """As a machine leaves them that lost its power, and what it hadn't written to the disk yet."""
    samples = pool()
    prepare(WorkFiles.single(out, [sample.id for sample in samples]))
    for chunk in plan(by_clip([asked_alike(samples)])):
        (work_folder(out) / "done" / chunk.name).touch()
        (work_folder(out) / "claims" / f"{chunk.name}.0").write_text("lost")
    go(out, samples)
    assert out.read_bytes() == whole()


def test_a_folder_that_is_taken_away_is_told(out, monkeypatch):
    samples = pool()
    monkeypatch.setattr("trlt.rollout.loop.LOOK_S", -1.0)
    with pytest.raises(
        ResumeError, match=r"\.probe\.jsonl\.work: another process has removed it .*start the same command again"
    ):
        go(out, samples, progress=lambda done, total: done > 10 and remove(work_folder(out)))


def test_the_plan_depends_on_samples_alone():
    groups = by_clip([asked_alike(pool())])
    chunks = plan(groups)
    assert [group for chunk in chunks for group in chunk.groups] == groups
    assert len(chunks) == 30 and len({chunk.name for chunk in chunks}) == 30
    many = [event(f"{clip}-{q}", f"{clip}", 1.0) for clip in range(20_000) for q in range(1 + clip % 4)]
    chunks = plan(by_clip([asked_alike(many)]))
    assert 3000 < len(chunks) <= 4096 and sum(len(chunk.keys) for chunk in chunks) == 50_000
    assert max(len(chunk.keys) for chunk in chunks) <= 16
    assert plan([]) == []


@pytest.fixture
def leases(tmp_path):
    """`claims(name)` joins the work in `tmp_path/work`, and `claims.of(token)` writes a rank of another machine."""
    folder = tmp_path / "work"
    make(folder)
    joined = []

    def join(lease_s=60.0):
        joined.append(Leases(folder, lease_s))
        return joined[-1]

    def foreign(token, age_s):
        path = folder / "ranks" / token
        path.write_text(json.dumps({"machine": "elsewhere", "pid": os.getpid(), "started": "1"}))
        os.utime(path, (time.time() - age_s,) * 2)

    yield SimpleNamespace(join=join, foreign=foreign, folder=folder)
    for one in joined:
        one.close()


def test_a_piece_is_taken_by_one_and_over_from_the_dead(leases):
    a, b = leases.join(), leases.join()
    assert a.take("x", a.look()).before == ()
    assert b.take("x", b.look()) is None and a.take("x", a.look()) is None
    stale = b.look()
    a.close()  # leaves
    assert b.take("x", stale).before == (a.token,)
    c = leases.join()
    assert c.take("x", stale) is None, "an old look takes nothing from the living"
    b.finish("x")
    b.close()
    assert c.take("x", stale) is None and c.look().done == {"x"}


def test_other_machines_are_judged_by_their_heartbeat(leases):
    a = leases.join()
    leases.foreign("silent", 61)
    leases.foreign("well", 55)
    for name in ("silent", "well"):
        (leases.folder / f"claims/{name}.0").write_text(name)
    assert a.take("silent", a.look()).before == ("silent",)
    assert a.take("well", a.look()) is None
    assert at_work(leases.folder) == sorted([a.token, "well"])
    # Killed between making the claim and writing its name.
    path = leases.folder / "claims/empty.0"
    path.touch()
    assert a.take("empty", a.look()) is None
    os.utime(path, (time.time() - 61,) * 2)
    assert a.take("empty", a.look()).before == ("",)


def test_a_heart_beats_and_a_dead_number_is_another_process(leases):
    a = leases.join(lease_s=0.3)
    beat = (leases.folder / "ranks" / a.token).stat().st_mtime_ns
    wait_for(lambda: (leases.folder / "ranks" / a.token).stat().st_mtime_ns > beat)
    path = leases.folder / "ranks" / a.token
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "started": "1"}))  # the number was given to a new process
    assert at_work(leases.folder) == []
    path.write_text(json.dumps(about)[:20])  # not yet written to its end
    assert at_work(leases.folder) == [a.token]


def test_a_rank_that_was_taken_away_marks_nothing(leases):
    a = leases.join()
    remove(leases.folder)
    make(leases.folder)
    for step in (a.look, lambda: a.finish("x")):
        with pytest.raises(Gone):
            step()
    assert list((leases.folder / "done").iterdir()) == []


def test_errors_are_counted_once_after_an_interrupted_retry(tmp_path):
    samples = pool(1)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(encode(error_row(samples[0], 2, "old")) + encode(error_row(samples[0], 2, "new")))
    with RowFile(path, [samples[0].id]) as rows:
        assert (len(rows), rows.errors) == (1, 1)
        rows.finish()
    assert path.read_bytes() == encode(error_row(samples[0], 2, "new"))
