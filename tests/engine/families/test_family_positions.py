"""Positions of prompts: the published rule by hand, and where the library follows it, the library's."""

from __future__ import annotations

from itertools import product

import by_library as library
import pytest
import torch

from trlt.engine.families import FAMILIES
from trlt.engine.inputs import InputBuilder

FILES = (
    library.File(2, 1, 1),
    library.File(6, 2, 3),
    library.File(40, 1, 2, rate=25, step=13),
    library.File(2, 10, 2),
    library.File(4, 2, 11, rate=24000 / 1001, step=60),
    library.File(150, 1, 1, step=7),
)
ELSEWHERE = {"Qwen2-VL": 2, "Qwen2.5-VL": 3}
"""Of how many clips the library places the text elsewhere: of those that are longer than their sides, in positions."""


def by_hand(family, prompt, video, clip):
    """[(time, row, column)] of each token.

    Counted token by token: a token of text stands one past the largest number so far, on all axes; tokens of a video count from
    there, and time by patches, by half seconds (Qwen2.5-VL), or not at all where each pair of frames is a picture of its own.
    """
    temporal, rows, columns = clip.grid
    rows, columns = rows // 2, columns // 2
    step = {"Qwen2-VL": 1.0, "Qwen2.5-VL": 2 * 2 / clip.sample_fps}.get(family.name)
    ids, found, largest, shown, base = prompt.tolist(), [], -1, 0, 0
    for place, token in enumerate(ids):
        if token != video:
            found.append((largest + 1,) * 3)
            largest += 1
            continue
        if place == 0 or ids[place - 1] != video:
            base = largest + 1
        patch, rest = divmod(shown, rows * columns)
        row, column = divmod(rest, columns)
        moved = int(patch * step) if step is not None else 0
        found.append((base + moved, base + row, base + column))
        largest = max(largest, *found[-1])
        shown += 1
    assert shown == temporal * rows * columns
    return found


def test_positions_are_those_of_the_published_rule(family, loaded):
    builder = InputBuilder(loaded.model, loaded.processor)
    video, elsewhere = loaded.model.config.video_token_id, 0
    for file, (system, user) in product(FILES, (("sys", "which of these came first?"), ("", "x"))):
        clip = file.clip(family)
        made = builder.without_patches(clip)
        prompt = builder.prompt(system, user, made)
        ids = torch.cat([prompt.prefix, prompt.suffix])
        expected = by_hand(family, ids, video, clip)
        assert prompt.positions.T.tolist() == [list(one) for one in expected], file.count
        assert prompt.next_position == max(map(max, expected)) + 1
        inner = loaded.model.model
        seconds = {"second_per_grid_ts": torch.tensor([clip.seconds_per_grid])} if family.name == "Qwen2.5-VL" else {}
        kinds = (ids[None] == video).int() * 2
        theirs, deltas = type(inner).get_rope_index(
            inner, ids[None], mm_token_type_ids=kinds, video_grid_thw=made.grid, **seconds
        )
        elsewhere += not torch.equal(theirs[:, 0], prompt.positions)
        if family.name not in ELSEWHERE:
            assert int(deltas) == prompt.next_position - len(ids), "where `generate` goes on"
    assert elsewhere == 2 * ELSEWHERE.get(family.name, 0), "the library's own rule"


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.time_tokens], ids=lambda family: family.name)
def test_each_pair_of_frames_is_a_picture_of_its_own(family, loaded, shown):
    """One past the largest column of one pair come its closing mark, the next time and the next opening mark."""
    builder = InputBuilder(loaded.model, loaded.processor)
    prompt = builder.prompt("", "q", builder.without_patches(shown()))
    pads = (prompt.prefix == loaded.model.config.video_token_id).nonzero()[:, 0]
    first, second, third = prompt.positions[:, pads].view(3, 3, 6).unbind(1)
    start = int(first[0, 0])
    assert first.tolist() == [[start] * 6, [start] * 3 + [start + 1] * 3, [start, start + 1, start + 2] * 2]
    between = int(pads[6] - pads[5]) - 1
    assert torch.equal(second, first + 3 + between) and torch.equal(third, second + 3 + between)
