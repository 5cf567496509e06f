from dataclasses import replace

import av
import numpy as np
import pytest

from trlt.lab.miniature.render import FPS, RGB, render_frames, write_frames, write_video
from trlt.lab.miniature.script import make_scene
from trlt.lab.miniature.world import COLOURS, KINDS, Decoy, Path


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.codec_context.name, np.stack([f.to_ndarray(format="rgb24") for f in container.decode(stream)])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("domain", ["train", "shifted"])
def test_a_shape_is_seen_exactly_while_it_is_shown(seed, domain):
    scene = make_scene(seed, domain)
    frames = render_frames(scene, noise=False)
    empty = render_frames(replace(scene, shows=()), noise=False)
    assert frames.shape == (scene.duration * FPS, 112, 112, 3) and frames.dtype == np.uint8
    for k in range(len(frames)):
        changed = (frames[k] != empty[k]).any(-1)
        visible = [s for s in scene.shows if s.start <= k / FPS < s.end]
        assert changed.any() == bool(visible)
        for show in visible:
            x, y = (round(c) for c in show.centre_at(k / FPS))
            assert changed[y, x]
            assert np.abs(frames[k, y, x].astype(int) - RGB[show.colour_at(k / FPS)]).max() <= 255 * (1 - scene.contrast) + 2
            half = show.size // 2 + 2
            changed[max(0, y - half) : y + half, max(0, x - half) : x + half] = False
        assert not changed.any()


def test_rendering_is_deterministic_and_noise_is_small():
    scene = make_scene(3, "train")
    frames = render_frames(scene)
    assert (frames == render_frames(scene)).all()
    empty = replace(scene, shows=())
    difference = render_frames(empty).astype(int) - render_frames(empty, noise=False)
    assert 0 < np.abs(difference).max() <= scene.noise


def test_kinds_and_colours_look_different():
    show = replace(make_scene(0, "train").shows[0], size=40, motion="still", turns_to=None, turns_at=None)
    scene = replace(make_scene(0, "train"), contrast=1.0, noise=0)
    shown = [
        render_frames(replace(scene, shows=(replace(show, kind=k, colour=c),)), fps=2)[round(2 * show.start)].astype(int)
        for k in KINDS
        for c in COLOURS
    ]
    for i, a in enumerate(shown):
        for b in shown[:i]:
            assert (np.abs(a - b).max(-1) > 60).sum() > 150


@pytest.mark.parametrize(("suffix", "codec", "tolerance"), [(".mp4", "h264", 24), (".webm", "vp8", 30)])
def test_a_written_video_shows_the_scene(tmp_path, suffix, codec, tolerance):
    scene = make_scene(4, "shifted")
    path = tmp_path / "folder" / f"clip{suffix}"
    write_video(scene, path)
    name, frames = decode(path)
    drawn = render_frames(scene)
    assert name == codec and frames.shape == drawn.shape
    assert path.stat().st_size < 300_000
    for show in scene.shows:
        for k in (round(show.start * FPS), round(show.end * FPS) - 1):
            x, y = (round(c) for c in show.centre_at(k / FPS))
            patch = np.s_[k, y - 3 : y + 4, x - 3 : x + 4]
            assert np.abs(frames[patch].mean((0, 1)) - drawn[patch].mean((0, 1))).max() < tolerance
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_frame_folder_counts_from_one_at_three_frames_a_second(tmp_path):
    from PIL import Image

    scene = make_scene(4, "shifted")
    write_frames(scene, tmp_path / "clip")
    names = sorted(p.name for p in (tmp_path / "clip").iterdir())
    assert names == [f"{k:05d}.jpg" for k in range(1, round(scene.duration) * 3 + 1)]
    drawn = render_frames(scene, fps=3)
    for k in (0, len(drawn) // 2):
        with Image.open(tmp_path / "clip" / f"{k + 1:05d}.jpg") as image:
            assert np.abs(np.asarray(image, int) - drawn[k]).mean() < 6


def test_decoys_drift_behind_the_shapes():
    scene = make_scene(4, "train")
    decoy = Decoy("square", 20, 123, Path(14, 56, 90, 56))
    show = replace(scene.shows[0], start=0.0, end=scene.duration, motion="still", path=Path(56, 56, 56, 56), turns_to=None)
    frames = render_frames(replace(scene, shows=(show,), marks=(), decoys=(decoy,)), noise=False)
    assert tuple(frames[0, 56, 14]) == (123, 123, 123) != tuple(frames[-1, 56, 14])
    assert all(tuple(frame[56, 56]) == tuple(frames[0, 56, 56]) != (123, 123, 123) for frame in frames)
