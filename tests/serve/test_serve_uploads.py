"""Videos that are sent: limits, and when they are deleted."""

from __future__ import annotations

import asyncio
import stat

import pytest

from trlt.serve import uploads as module
from trlt.serve.uploads import Full, Unstorable, Uploads, UploadTooLarge


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def uploads(now):
    one = Uploads(10, 60.0, clock=lambda: now[0])
    one.open()
    yield one
    one.close()
    assert not one.folder.exists()


def take(uploads, *blocks, name="../../etc/passwd"):
    async def coming():
        for block in blocks:
            if isinstance(block, Exception):
                raise block
            yield block

    upload = asyncio.run(uploads.take(coming(), name))
    uploads.release(upload)
    return upload


def there(uploads):
    return len(list(uploads.folder.iterdir()))


def test_a_video_lies_in_a_folder_of_this_user_under_a_name_of_ours(uploads):
    one = take(uploads, b"12345", b"67890")
    assert (
        one.path.parent.parent == uploads.folder and one.path.read_bytes() == b"1234567890" and one.name == "../../etc/passwd"
    )
    assert stat.S_IMODE(uploads.folder.stat().st_mode) == 0o700 and uploads.get(one.id) is one
    assert uploads.get("other") is None


@pytest.mark.parametrize(
    "blocks, error", [((b"12345", b"678901"), UploadTooLarge), ((b"1", RuntimeError("gone")), RuntimeError)]
)
def test_of_one_that_is_too_large_or_breaks_off_nothing_stays(uploads, blocks, error):
    with pytest.raises(error):
        take(uploads, *blocks)
    assert len(uploads) == there(uploads) == 0


def test_unused_videos_go_but_not_while_they_are_asked_about(uploads, now):
    old, asked = take(uploads, b"a"), take(uploads, b"b")
    with uploads.held(asked) as path:
        now[0] = 61.0
        uploads.expire()
        assert uploads.get(old.id) is None and uploads.get(asked.id) is asked and there(uploads) == 1
        uploads.delete(asked.id)
        assert uploads.get(asked.id) is None and path.exists(), "a question about it is under way"
    assert there(uploads) == 0


def test_a_question_keeps_a_video_for_another_while(uploads, now):
    one = take(uploads, b"a")
    now[0] = 50.0
    with uploads.held(one):
        pass
    now[0] = 100.0
    uploads.expire()
    assert uploads.get(one.id) is one


def test_beyond_a_number_the_one_unused_for_longest_goes(uploads, now, monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    first, second = take(uploads, b"a"), None
    now[0] = 1.0
    second = take(uploads, b"b")
    with uploads.held(first):
        take(uploads, b"c")
    assert uploads.get(first.id) and not uploads.get(second.id) and there(uploads) == 2
    with uploads.held(first), uploads.held(uploads.get(next(id for id in uploads._uploads if id != first.id))):
        with pytest.raises(Full, match="2 videos are under way"):
            take(uploads, b"d")


def test_beyond_so_many_bytes_the_one_unused_for_longest_goes(uploads, now, monkeypatch):
    monkeypatch.setattr(module, "MOST_LARGEST", 2)  # of 10 bytes
    first = take(uploads, b"1234567890")
    now[0] = 1.0
    second = take(uploads, b"12345")
    assert uploads.get(first.id) and uploads.get(second.id)
    third = take(uploads, b"123", b"456")
    assert not uploads.get(first.id) and uploads.get(second.id) and uploads.get(third.id)
    with uploads.held(second), uploads.held(third), pytest.raises(Full, match="3 videos are under way"):
        take(uploads, b"1234567890")
    assert len(uploads) == there(uploads) == 2, "of the one that didn't fit nothing stays"


def test_a_video_that_was_just_taken_stays_for_whoever_sent_it(uploads, monkeypatch):
    """Another may arrive before the first question about it."""
    monkeypatch.setattr(module, "MOST", 1)

    async def sent():
        yield b"a"

    first = asyncio.run(uploads.take(sent(), "one"))
    with pytest.raises(Full, match="1 videos are under way"):
        take(uploads, b"b")
    assert first.path.read_bytes() == b"a"
    uploads.release(first)
    take(uploads, b"b")
    assert not first.path.exists()


def test_a_disk_that_takes_nothing_is_told(uploads):
    uploads.folder.chmod(0o700)
    for made in uploads.folder.iterdir():
        made.unlink()
    uploads.folder.rmdir()
    with pytest.raises(Unstorable, match="the video can't be stored .No such file"):
        take(uploads, b"a")
    assert not len(uploads)
    uploads.folder.mkdir()
