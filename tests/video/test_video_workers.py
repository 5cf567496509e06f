"""The loader: order, time limits, crashes, the store, and nothing left behind."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from coded import make, numbers
from processes import children

from trlt.errors import VideoError
from trlt.recipe import Video
from trlt.video.deep import LOAD_CLIP as DEEP
from trlt.video.geometry import Geometry
from trlt.video.peek import PEEK
from trlt.video.workers import ClipLoader, ClipRequest, LoadedClip

MADE = "decoders:load"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = children()
    yield
    gc.collect()
    assert children() <= before


def settings(**changes: Any) -> Video:
    return Video(**{"max_tokens": 256, "timeout_s": 20.0, **changes})


def names(loaded: list[LoadedClip]) -> list[str]:
    return [f"{item.request.path.stem}:{'clip' if item.clip else 'error'}" for item in loaded]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_clips_in_the_order_of_requests(tmp_path: Path, workers: int) -> None:
    path = make(tmp_path / "a.mp4", 50, 10)
    requests = [ClipRequest(path, start=i / 10, end=i / 10 + 2, key=i) for i in range(20)]
    requests.insert(7, ClipRequest(tmp_path / "none.mp4", key="none"))
    with ClipLoader(settings(workers=workers)) as loader:
        loaded = list(loader.map(iter(requests)))
        assert [item.request.key for item in loaded] == [request.key for request in requests]
        for item in loaded:
            if item.request.key == "none":
                assert item.clip is None and "none.mp4: no such file" in str(item.error)
            else:
                assert item.clip is not None and item.error is None and numbers(item.clip.frames)[0] == item.request.key
        assert loader.waited_s > 0
        clip = loader.load(str(path), end=1.0)
        assert clip.tokens <= 256 and clip.frames.flags.writeable
        with pytest.raises(VideoError, match="no such file"):
            loader.load(tmp_path / "none.mp4")


def test_slow_files_keep_their_place(tmp_path: Path) -> None:
    order = [tmp_path / f"{name}.mp4" for name in ("slow1", "a", "b", "slow2", "c")]
    with ClipLoader(settings(workers=2), decoder=MADE) as loader:
        loaded = list(loader.map(map(ClipRequest, order)))
    assert [item.request.path for item in loaded] == order
    assert all((item.seconds >= 0.3) == item.request.path.stem.startswith("slow") for item in loaded[2:])


def test_a_hanging_file_is_given_up(tmp_path: Path) -> None:
    order = [tmp_path / f"{name}.mp4" for name in ("a", "hang1", "b", "c", "d", "hang2", "e")]
    began = time.monotonic()
    with ClipLoader(settings(workers=2, timeout_s=0.5), decoder=MADE) as loader:
        loaded = list(loader.map(map(ClipRequest, order)))
    assert names(loaded) == ["a:clip", "hang1:error", "b:clip", "c:clip", "d:clip", "hang2:error", "e:clip"]
    assert "hang1.mp4: not decoded in 0.5 s" in str(loaded[1].error) and time.monotonic() - began < 30
    assert loaded[1].seconds >= 0.5, "of what was given up, too"


def test_a_crashing_process_is_replaced(tmp_path: Path) -> None:
    order = [tmp_path / f"{name}.mp4" for name in ("a", "crash", "b", "exit", "bug", "bad", "c")]
    with ClipLoader(settings(workers=1), decoder=MADE) as loader:
        loaded = list(loader.map(map(ClipRequest, order)))
    assert names(loaded) == ["a:clip", "crash:error", "b:clip", "exit:error", "bug:error", "bad:error", "c:clip"]
    errors = [str(item.error) for item in loaded]
    assert "crash.mp4: the decoding process was ended by SIGSEGV" in errors[1]
    assert "ended with status 7" in errors[3] and errors[4].startswith("RuntimeError: a bug in a decoder (at trlt/")
    assert errors[5].endswith("bad.mp4: at 1.00 s: bäd")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts all private memory as data")
def test_a_file_that_wants_too_much_memory_is_refused(tmp_path: Path) -> None:
    order = [tmp_path / f"{name}.mp4" for name in ("a", "greedy", "b")]
    with ClipLoader(settings(workers=1, memory_gb=1.0), decoder=MADE) as loader:
        loaded = list(loader.map(map(ClipRequest, order)))
    assert names(loaded) == ["a:clip", "greedy:error", "b:clip"]
    assert "greedy.mp4: decoding needs more than 1 GB; raise video.memory_gb" in str(loaded[1].error)
    real = make(tmp_path / "large.mp4", 8, 2, size=(3840, 2160), options={"preset": "ultrafast"})
    with (
        ClipLoader(settings(workers=1, memory_gb=0.15)) as loader,
        pytest.raises(VideoError, match=r"video\.memory_gb|process"),
    ):
        loader.load(real)
    with ClipLoader(settings(workers=1, memory_gb=1.0)) as loader:
        assert numbers(loader.load(real).frames) == list(range(8))


def test_a_process_that_was_killed_while_idle_blames_no_file(tmp_path: Path) -> None:
    with ClipLoader(settings(workers=1), decoder=MADE) as loader:
        first = loader.load(tmp_path / "a.mp4").warnings
        assert loader.load(tmp_path / "b.mp4").warnings == first
        os.kill(int(first[0]), signal.SIGKILL)
        time.sleep(0.2)
        assert loader.load(tmp_path / "c.mp4").warnings != first


def test_look_ahead_is_bounded(tmp_path: Path) -> None:
    asked: list[int] = []

    def requests() -> Iterator[ClipRequest]:
        for number in range(30):
            asked.append(number)
            yield ClipRequest(tmp_path / f"{number}.mp4")

    with ClipLoader(settings(workers=1), decoder=MADE, ahead=3) as loader:
        answers = loader.map(requests())
        for count in range(1, 6):
            next(answers)
            assert len(asked) <= count + 3
        answers.close()  # type: ignore[attr-defined]


def test_leaving_kills_what_hangs(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), ClipLoader(settings(workers=2, timeout_s=300.0), decoder=MADE) as loader:
        answers = loader.map([ClipRequest(tmp_path / f"{name}.mp4") for name in ("a", "hang1", "hang2", "hang3")])
        next(answers)
        time.sleep(0.5)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 20
    with pytest.raises(VideoError, match="closed"):
        loader.load(tmp_path / "a.mp4")


def test_forgetting_to_close_leaks_nothing(tmp_path: Path) -> None:
    loader = ClipLoader(settings(workers=1), decoder=MADE)
    loader.load(tmp_path / "a.mp4")
    assert children()
    del loader


def test_children_end_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import os, sys, threading, time\n"
        "from pathlib import Path\n"
        "from trlt.recipe import Video\n"
        "from trlt.video.workers import ClipLoader, ClipRequest\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "loader = ClipLoader(Video(workers=2), decoder='decoders:load')\n"
        "print(loader.load('a.mp4').warnings[0], flush=True)\n"
        "list(loader.map([ClipRequest(Path('hang1.mp4')), ClipRequest(Path('hang2.mp4'))]))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = Path("/proc") / parent.stdout.readline().strip()
    assert child.exists()
    time.sleep(1)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not child.exists() or "Z" in (child / "stat").read_text().rpartition(")")[2].split()[0]:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the decoding process outlived its parent")


@pytest.mark.parametrize("workers", [0, 2])
def test_the_store_is_read_instead_of_the_video(tmp_path: Path, workers: int) -> None:
    path = make(tmp_path / "a.mp4", 50, 10)
    store = tmp_path / "store"
    with ClipLoader(settings(workers=workers, store=str(store))) as loader:
        first = loader.load(path)
    assert len(list(store.glob("??/*.clip"))) == 1
    # no decoder can be reached any more, and the frames are the same
    with ClipLoader(settings(workers=1, store=str(store)), decoder="decoders:none") as loader:
        assert (loader.load(path).frames == first.frames).all()
        [entry] = store.glob("??/*.clip")
        entry.write_bytes(entry.read_bytes()[:-1] + b"!")
    with ClipLoader(settings(workers=workers, store=str(store))) as loader:
        assert (loader.load(path).frames == first.frames).all()
        assert len(list(store.glob("??/*.clip"))) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_frames_of_each_geometry(tmp_path: Path, workers: int) -> None:
    """96 x 128 at 256 tokens: 3 rows and 5 columns of 28 pixels (4.6 are nearest to 5), or 3 and 4 of 32; stored apart."""
    path = make(tmp_path / "a.mp4", 50, 10)
    made = settings(workers=workers, store=str(tmp_path / "store"))
    shapes = {Geometry(): (84, 140), Geometry(16): (96, 128)}
    for entries, (geometry, shape) in enumerate(shapes.items(), 1):
        with ClipLoader(made, geometry) as loader:
            assert not loader.is_stored(path)
            clip = loader.load(path)
            assert loader.is_stored(path) and len(list((tmp_path / "store").glob("??/*.clip"))) == entries
        assert clip.frames.shape[2:] == shape and clip.geometry == geometry
        assert clip.grid == (5, shape[0] // geometry.patch, shape[1] // geometry.patch) and clip.seconds_per_grid == 1.0
        assert clip.tokens == {14: 75, 16: 60}[geometry.patch]
    for geometry, shape in shapes.items():
        with ClipLoader(made.model_copy(update={"workers": 1}), geometry, decoder="decoders:none") as loader:
            assert loader.load(path).frames.shape[2:] == shape and loader.load(path).geometry == geometry


@pytest.mark.parametrize("decoder", [DEEP, PEEK])
def test_other_decoders_know_the_geometry(tmp_path: Path, decoder: str) -> None:
    path = make(tmp_path / "a.mp4", 20, 10)
    with ClipLoader(settings(workers=1), Geometry(16), decoder=decoder) as loader:
        clip = loader.load(path)
    assert clip.geometry == Geometry(16) and clip.frames.shape[2] % 32 == clip.frames.shape[3] % 32 == 0 and clip.tokens > 0


def test_announced_clips_are_loaded_once_and_before_they_are_asked_for(tmp_path: Path) -> None:
    requests = [ClipRequest(tmp_path / f"slow{i}.mp4", key=i) for i in range(4)]
    with ClipLoader(settings(workers=2), decoder=MADE) as loader:
        loader.load(tmp_path / "a.mp4")
        loader.announce([*requests, ClipRequest(tmp_path / "bad.mp4")])
        time.sleep(1.5)
        before = loader.waited_s
        loaded = list(loader.map(ClipRequest(r.path, key=f"again {r.key}") for r in requests))
        assert [item.request.key for item in loaded] == [f"again {i}" for i in range(4)], "the asker's key, not the announcer's"
        assert all(item.clip for item in loaded) and loader.waited_s - before < 0.2
        with pytest.raises(VideoError, match=r"bad\.mp4"):
            loader.load(tmp_path / "bad.mp4")
        assert not loader._announced


def test_announced_clips_that_nobody_wants_are_forgotten(tmp_path: Path) -> None:
    with ClipLoader(settings(workers=1), decoder=MADE) as loader:
        loader.announce((ClipRequest(tmp_path / f"{i}.mp4") for i in range(10)), most=3)
        assert [place[0].stem for place in loader._announced] == ["7", "8", "9"]
        assert loader.load(tmp_path / "2.mp4").frames.shape == (2, 3, 28, 28)
    with ClipLoader(settings(workers=0), decoder=MADE) as loader:
        loader.announce([ClipRequest(tmp_path / "0.mp4")])
        assert not loader._announced
