"""Files from a server that cuts connections, changes files, lies and leads elsewhere; and archives that want out."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import stat
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trlt.errors import DataError, TrltError
from trlt.files import download as downloads
from trlt.files.download import download, file_digests
from trlt.files.unpack import unpack

TEXT = bytes(range(256)) * 400


class Handler(BaseHTTPRequestHandler):
    """Serves `content`; each connection gives at most `cut` bytes of it."""

    content, etag, cut, statuses = TEXT, '"one"', len(TEXT), [200]
    away = ""
    asked: list[tuple[str, str | None]] = []
    sent = 0

    def do_GET(self) -> None:
        made = type(self)
        made.asked.append((self.path, self.headers["Range"]))
        status = made.statuses.pop(0) if len(made.statuses) > 1 else made.statuses[0]
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", made.away)
            self.end_headers()
            return
        if status != 200:
            self.send_error(status)
            return
        begin = 0
        if self.headers["Range"] and self.headers["If-Range"] == made.etag:
            begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if begin >= len(made.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(made.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(made.content) - 1}/{len(made.content)}")
        else:
            self.send_response(200)
        if made.etag:
            self.send_header("ETag", made.etag)
        self.send_header("Content-Length", str(len(made.content) - begin))
        self.end_headers()
        block = made.content[begin : begin + made.cut]
        made.sent += len(block)
        self.wfile.write(block)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[tuple[type[Handler], str]]:
    made = type("Made", (Handler,), {"asked": [], "statuses": [200]})
    with ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield made, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def get(url: str, path: Path, **given: Any) -> str:
    origin = "/".join(url.split("/")[:3])
    return download(url, path, **{"origins": {origin}, "most_bytes": 10 * len(TEXT), "wait_s": 0.0, **given})


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_comes_whole_with_its_checksum(served, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    digest = get(f"{served[1]}/a.bin", tmp_path / "in/a.bin", tell=lambda *counts: told.append(counts))
    assert digest == sha(TEXT) and (tmp_path / "in/a.bin").read_bytes() == TEXT
    assert told[-1] == (len(TEXT), len(TEXT)) and sorted(told) == told
    assert [one.name for one in (tmp_path / "in").iterdir()] == ["a.bin"], "no parts are left"


def test_cut_connections_are_continued_where_they_ended(served, tmp_path: Path) -> None:
    made, url = served
    made.cut = 40_000
    assert get(f"{url}/a.bin", tmp_path / "a.bin") == sha(TEXT)
    assert made.asked == [("/a.bin", None), ("/a.bin", "bytes=40000-"), ("/a.bin", "bytes=80000-")]
    assert made.sent == len(TEXT), "nothing came twice"


def test_a_later_call_goes_on_from_what_an_earlier_one_has_fetched(served, tmp_path: Path) -> None:
    made, url = served
    made.cut = 10_000
    with pytest.raises(TrltError, match=r"tried 4 times; the same command goes on from 40,000 bytes"):
        get(f"{url}/a.bin", tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()
    made.cut = len(TEXT)
    assert get(f"{url}/a.bin", tmp_path / "a.bin") == sha(TEXT) and made.sent == len(TEXT)


def test_a_file_that_has_changed_meanwhile_begins_anew(served, tmp_path: Path) -> None:
    made, url = served
    made.cut = 10_000
    with pytest.raises(TrltError):
        get(f"{url}/a.bin", tmp_path / "a.bin")
    made.cut, made.content, made.etag = len(TEXT), TEXT[::-1], '"two"'
    assert get(f"{url}/a.bin", tmp_path / "a.bin") == sha(TEXT[::-1])


def test_without_a_validator_nothing_is_continued(served, tmp_path: Path) -> None:
    made, url = served
    made.cut, made.etag = 10_000, ""
    with pytest.raises(TrltError, match="tried 4 times"):
        get(f"{url}/a.bin", tmp_path / "a.bin")
    assert {asked for _, asked in made.asked} == {None}


def test_a_whole_part_needs_no_more_bytes(served, tmp_path: Path) -> None:
    made, url = served
    (tmp_path / ".a.bin.part").write_bytes(TEXT)
    (tmp_path / ".a.bin.part.etag").write_text('"one"')
    assert get(f"{url}/a.bin", tmp_path / "a.bin") == sha(TEXT) and made.sent == 0


def test_a_wrong_part_is_found_by_the_checksum_and_fetched_again(served, tmp_path: Path) -> None:
    made, url = served
    (tmp_path / ".a.bin.part").write_bytes(b"?" * 10)
    (tmp_path / ".a.bin.part.etag").write_text('"one"')
    assert get(f"{url}/a.bin", tmp_path / "a.bin", digest=f"sha256:{sha(TEXT)}") == sha(TEXT)
    assert made.asked == [("/a.bin", "bytes=10-"), ("/a.bin", None)]


def test_another_file_than_the_known_one_is_refused(served, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"not the file that is known: sha256:{sha(TEXT)} instead of sha256:00"):
        get(f"{served[1]}/a.bin", tmp_path / "a.bin", digest="sha256:00")
    assert list(tmp_path.iterdir()) == []


def test_digests_are_those_of_sha256sum_and_git(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(TEXT)
    plain, blob = file_digests(tmp_path / "a")
    assert plain == f"sha256:{sha(TEXT)}"
    if shutil.which("git"):
        said = subprocess.run(["git", "hash-object", tmp_path / "a"], capture_output=True, text=True, check=True)
        assert blob == f"git:{said.stdout.strip()}"


def test_servers_that_are_busy_are_asked_again(served, tmp_path: Path) -> None:
    made, url = served
    made.statuses = [503, 429, 200]
    assert get(f"{url}/a.bin", tmp_path / "a.bin") == sha(TEXT) and len(made.asked) == 3


def test_a_missing_file_is_no_use_asking_again(served, tmp_path: Path) -> None:
    made, url = served
    made.statuses = [404]
    with pytest.raises(TrltError, match="HTTP 404 Not Found; the file isn't there any more"):
        get(f"{url}/a.bin", tmp_path / "a.bin")
    assert len(made.asked) == 1 and list(tmp_path.iterdir()) == []


def test_redirections_lead_to_known_hosts_alone(served, tmp_path: Path) -> None:
    made, url = served
    made.away = f"{url}/a.bin"
    assert get(f"{url}/away", tmp_path / "a.bin") == sha(TEXT)
    other = type("Other", (Handler,), {"asked": [], "statuses": [200]})
    with ThreadingHTTPServer(("127.0.0.1", 0), other) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        made.away = f"http://127.0.0.1:{server.server_address[1]}/a.bin"
        with pytest.raises(TrltError, match=r"leads to http://127\.0\.0\.1:\d+, which isn't a known host"):
            get(f"{url}/away", tmp_path / "b.bin")
        server.shutdown()
    assert other.asked == [] and not (tmp_path / "b.bin").exists(), "the other host isn't even asked"


def test_an_address_elsewhere_is_not_asked(served, tmp_path: Path) -> None:
    made, url = served
    with pytest.raises(TrltError, match="isn't a known host"):
        get(f"{url}/a.bin", tmp_path / "a.bin", origins={"https://example.org"})
    assert made.asked == []


@pytest.mark.parametrize("etag", ['"one"', ""])
def test_a_file_that_is_larger_than_told_ends(served, tmp_path: Path, etag: str) -> None:
    made, url = served
    made.etag = etag
    with pytest.raises(TrltError, match="larger than"):
        get(f"{url}/a.bin", tmp_path / "a.bin", most_bytes=len(TEXT) - 1)
    assert made.sent <= len(TEXT) and list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_told_before_anything_is_written(served, tmp_path: Path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage._replace(free=downloads.SPARE + 1000))
    with pytest.raises(TrltError, match=r"0\.00 GB are needed and 0\.07 GB are free; make room there"):
        get(f"{served[1]}/a.bin", tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()


def test_a_disk_that_fills_up_meanwhile_keeps_what_came(served, tmp_path: Path, monkeypatch) -> None:
    made, url = served

    class Full(io.FileIO):
        def write(self, block: Any) -> int:
            if self.tell() > 20_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(bytes(block)[:30_000])

    # A block of the network may be larger than what fits: the file takes what it can, as a disk does.
    monkeypatch.setattr(Path, "open", lambda self, mode="r", **_: Full(self, mode) if "a" in mode else open(self, mode))
    with pytest.raises(OSError, match="No space left") as caught:
        get(f"{url}/a.bin", tmp_path / "a.bin")
    assert caught.value.filename == str(tmp_path / ".a.bin.part")


# -- archives ---------------------------------------------------------------------------------------------------------


def archive(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return path


def test_an_archive_is_unpacked_and_not_twice(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.zip", **{"in/a.json": b"[1]", "b.json": b"{}"})
    assert unpack(made, tmp_path / "to", most_bytes=100) == ["in/a.json", "b.json"]
    assert (tmp_path / "to/in/a.json").read_bytes() == b"[1]"
    before = (tmp_path / "to/b.json").stat().st_mtime_ns
    (tmp_path / "to/in/a.json").write_bytes(b"")
    unpack(made, tmp_path / "to", most_bytes=100)
    assert (tmp_path / "to/in/a.json").read_bytes() == b"[1]" and (tmp_path / "to/b.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "a\\..\\..\\out.txt"])
def test_paths_that_lead_out_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    made = archive(tmp_path / "a.zip", **{"first.txt": b"1", name: b"2"})
    with pytest.raises(DataError, match="leads out of the folder; nothing was unpacked"):
        unpack(made, tmp_path / "to", most_bytes=100)
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["a.zip"]


def test_links_are_refused_in_an_archive_and_on_the_disk(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(link, "/etc")
    with pytest.raises(DataError, match="is a link or no file"):
        unpack(tmp_path / "a.zip", tmp_path / "to", most_bytes=100)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "to/in").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="would be written outside of"):
        unpack(archive(tmp_path / "b.zip", **{"in/a": b"1"}), tmp_path / "to", most_bytes=100)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_bombs_and_damage_are_refused(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.zip", a=bytes(1 << 20))
    assert made.stat().st_size < 10_000
    with pytest.raises(DataError, match="unpacks to 0.00 GB, more than the 0.00 GB expected"):
        unpack(made, tmp_path / "to", most_bytes=1 << 19)
    whole = made.read_bytes()
    made.write_bytes(whole[:40] + b"????" + whole[44:])
    with pytest.raises(DataError, match="can't be unpacked"):
        unpack(made, tmp_path / "to", most_bytes=1 << 21)
    assert not any((tmp_path / "to").glob("*"))
    made.write_bytes(b"no zip")
    with pytest.raises(DataError, match="can't be unpacked"):
        unpack(made, tmp_path / "to", most_bytes=1 << 21)
