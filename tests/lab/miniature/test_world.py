from collections import Counter
from itertools import combinations

import pytest

from trlt.lab.miniature.ids import USES, charades_id, flickr_id, scene_seed, youtube_id
from trlt.lab.miniature.script import make_scene
from trlt.lab.miniature.world import SIDE, window

SCENES = [make_scene(seed, domain) for seed in range(150) for domain in ("train", "shifted")]
LONG = [make_scene(seed, "train", long=True) for seed in range(100)]
GRADED = [make_scene(seed, domain, graded=True) for seed in range(150) for domain in ("train", "shifted")]


def test_a_seed_gives_the_same_scene_and_another_seed_another_one():
    assert make_scene(5, "train") == make_scene(5, "train")
    assert len({make_scene(seed, "train").shows for seed in range(200)}) == 200
    assert make_scene(5, "train").shows != make_scene(5, "shifted").shows != make_scene(5, "train", long=True).shows


@pytest.mark.parametrize(("scenes", "tick"), [(SCENES, 0.5), (LONG, 5.0), (GRADED, 0.5)])
def test_times_lie_on_the_grid_inside_the_clip(scenes, tick):
    for scene in scenes:
        assert scene.duration == int(scene.duration)
        starts = [s.start for s in scene.shows]
        assert all(b - a >= 1 for a, b in zip(starts, starts[1:], strict=False))
        for show in scene.shows:
            assert 0 <= show.start < show.end <= scene.duration
            assert show.end - show.start >= 1
            assert show.start % tick == show.end % tick == 0
            if show.turns_to:
                assert show.turns_at % tick == 0
                assert show.start + 1 <= show.turns_at <= show.end - 1


def test_shapes_are_distinct_inside_the_frame_and_never_cover_each_other():
    for scene in SCENES + LONG + GRADED:
        seen = [(colour, s.kind) for s in scene.shows for colour in s.colours]
        assert len(seen) == len(set(seen))
        for tick in range(round(scene.duration * 8)):
            visible = [s for s in scene.shows if s.start <= tick / 8 < s.end]
            assert len(visible) <= 2
            boxes = [(*s.centre_at(tick / 8), s.size / 2) for s in visible]
            for x, y, half in boxes:
                assert half <= min(x, y) and max(x, y) <= SIDE - half
            for (x, y, a), (u, v, b) in combinations(boxes, 2):
                assert max(abs(x - u), abs(y - v)) > a + b


def test_motion_is_what_the_path_does():
    for scene in SCENES + LONG + GRADED:
        for show in scene.shows:
            dx, dy = show.path.x1 - show.path.x0, show.path.y1 - show.path.y0
            moved = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}[show.motion]
            assert ((dx > 20) - (dx < -20), (dy > 20) - (dy < -20)) == moved
            assert dx == 0 or dy == 0


def test_the_shifted_domain_differs():
    train, shifted = SCENES[::2], SCENES[1::2]
    assert max(s.duration for s in train) <= min(s.duration for s in shifted)
    assert not {s.background.style for s in train} & {s.background.style for s in shifted}
    kinds = [Counter(show.kind for s in scenes for show in s.shows) for scenes in (train, shifted)]
    assert kinds[0]["circle"] > kinds[0]["cross"] and kinds[1]["circle"] < kinds[1]["cross"]
    assert sum(len(s.shows) for s in train) < sum(len(s.shows) for s in shifted)


def test_a_window_is_a_scene_of_its_own_and_never_cuts_a_show():
    scene = next(s for s in SCENES if len(s.shows) > 2 and s.shows[0].end <= s.shows[1].start)
    cut = scene.shows[0].end
    rest = window(scene, cut, scene.duration)
    assert rest.duration == scene.duration - cut
    assert [s.start + cut for s in rest.shows] == [s.start for s in scene.shows[1:]]
    assert window(scene, cut - 0.5, scene.duration) is None
    assert window(scene, 0, scene.duration) == scene


def test_seeds_and_names_are_never_shared():
    clips = [(use, seed, index) for use in USES for seed in (0, 1, 7) for index in (0, 1, 5, 1999, 2**20 - 1)]
    assert len({scene_seed(*c) for c in clips}) == len(clips)
    for name in (charades_id, flickr_id, youtube_id):
        assert len({name(use, i) for use in USES for i in range(2000)}) == len(USES) * 2000
    with pytest.raises(ValueError, match="index"):
        scene_seed("warmup", 0, 2**20)


@pytest.mark.parametrize(
    ("name", "pattern"), [(charades_id, "[A-Z0-9]{5}"), (flickr_id, "[2-8][0-9]{9}"), (youtube_id, "[A-Za-z0-9_-]{11}")]
)
def test_names_look_like_the_real_ones(name, pattern):
    import re

    assert all(re.fullmatch(pattern, name("bench/mvbench", index)) for index in range(300))


def test_a_graded_world_goes_from_plain_to_hardly_visible():
    by_grade = sorted(GRADED[::2], key=lambda scene: scene.grade)
    plain, hard = by_grade[:40], by_grade[-40:]
    assert plain[0].grade < 0.05 and hard[-1].grade > 0.95
    assert min(s.contrast for s in plain) > max(s.contrast for s in hard)

    def mean(scenes, what):
        return sum(what(s) for s in scenes) / len(scenes)

    for what in (
        lambda s: len(s.shows),
        lambda s: len(s.decoys),
        lambda s: len(s.marks),
        lambda s: s.noise,
        lambda s: -mean(s.shows, lambda show: show.end - show.start),
    ):
        assert mean(plain, what) < mean(hard, what)
    assert all(s.grade is None and not s.decoys for s in SCENES + LONG)
