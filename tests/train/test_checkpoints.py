"""A checkpoint that was changed after it was written is noticed, whichever bit it is; the run goes on from the one before."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from trlt.errors import ResumeError
from trlt.train.checkpoints import COMPLETE, drop_damaged, faults, latest_checkpoint, seal

FILES = {
    "model.safetensors": bytes(range(64)),
    "optimizer_0/__0_0.distcp": b"slices of process 0",
    "optimizer_0/.metadata": b"where they are",
    "rng_state_1.pth": b"",
}
"""As FSDP2 lays them out: files of several processes, in folders, some with a dot."""


def write(folder: Path, step: int) -> Path:
    made = folder / f"checkpoint-{step}"
    for name, content in FILES.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(content)
    seal(made)
    return made


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def test_the_checksums_are_those_of_zlib(tmp_path):
    made = write(tmp_path, 1)
    text = (made / COMPLETE).read_text()
    for name, content in FILES.items():
        assert f'"{name}": "{zlib.crc32(content):08x} {len(content)}"' in text
    assert not faults(made)
    seal(made)
    assert not faults(made), "one that is written again"


def test_every_flipped_bit_is_noticed_and_named(tmp_path):
    made = write(tmp_path, 1)
    for name in (*FILES, COMPLETE):
        path = made / name
        for bit in range(8 * path.stat().st_size):
            flip(path, bit)
            assert faults(made) == [f"{name} was changed"], bit
            flip(path, bit)
    assert not faults(made)


def test_files_that_are_gone_cut_or_grown_are_noticed(tmp_path):
    made = write(tmp_path, 1)
    (made / "model.safetensors").write_bytes(bytes(range(63)))
    (made / "rng_state_1.pth").write_bytes(b"more")
    (made / "optimizer_0/.metadata").unlink()
    assert faults(made) == [
        "model.safetensors has 63 bytes, not 64",
        "optimizer_0/.metadata can't be read (No such file or directory)",
        "rng_state_1.pth has 4 bytes, not 0",
    ]


def test_the_one_before_takes_the_place_of_a_damaged_one(tmp_path):
    for step in (2, 4, 10):
        write(tmp_path, step)
    assert not [*drop_damaged(tmp_path)] and latest_checkpoint(tmp_path).name == "checkpoint-10"
    flip(tmp_path / "checkpoint-10/model.safetensors", 77)
    [told] = drop_damaged(tmp_path)
    assert told == (
        f"{tmp_path}/checkpoint-10 is damaged (model.safetensors was changed) and no longer counts; going on from checkpoint-4"
    )
    assert latest_checkpoint(tmp_path).name == "checkpoint-4"


def test_none_that_is_whole_is_an_error_and_all_stay(tmp_path):
    for step in (2, 4):
        flip(write(tmp_path, step) / "model.safetensors", 5)
    with pytest.raises(ResumeError, match=r"no checkpoint is whole[^$]*or start anew with --fresh[^$]*checkpoint-2: model"):
        list(drop_damaged(tmp_path))
    assert (tmp_path / "checkpoint-2" / COMPLETE).exists() and latest_checkpoint(tmp_path).name == "checkpoint-4"


def test_where_there_is_none_nothing_is_said(tmp_path):
    assert not [*drop_damaged(tmp_path / "nowhere")]
    (tmp_path / "checkpoint-1").mkdir()
    assert not [*drop_damaged(tmp_path)], "half a checkpoint is no damaged one"


def test_one_without_checksums_of_an_older_version_counts(tmp_path):
    (write(tmp_path, 1) / COMPLETE).write_text("")
    assert not [*drop_damaged(tmp_path)] and latest_checkpoint(tmp_path).name == "checkpoint-1"
