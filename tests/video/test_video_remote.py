"""Addresses instead of files: refused unless a folder for downloads is named; checked against a server in this process."""

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from coded import make

from trlt.errors import VideoError
from trlt.video.decode import load_clip
from trlt.video.remote import fetch
from trlt.video.resolve import VideoIndex


class Handler(BaseHTTPRequestHandler):
    body = b""
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/missing"):
            return self.send_error(404)
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/a.mp4" if "good" in self.path else "file:///etc/hostname")
            return self.end_headers()
        if self.path.startswith("/garbage"):
            self.wfile.write(b"hello\r\n\r\n")
            return None
        if self.path.startswith("/slow"):
            with contextlib.suppress(OSError):
                self.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"" if "head" in self.path else b"\r\n"))
                for _ in range(60):
                    self.wfile.write(b"X-A: b\r\n")
                    time.sleep(0.05)
            return None
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body) * (2 if self.path.startswith("/torn") else 1)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    Handler.body, Handler.asked = make(tmp_path / "source.mp4", 30, 10).read_bytes(), []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()


def test_refused_unless_a_folder_is_named(tmp_path: Path) -> None:
    index = VideoIndex(tmp_path)
    with pytest.raises(VideoError, match=r"set video\.downloads"):
        index.find("https://example.org/a.mp4")
    assert not index.has("https://example.org/a.mp4")
    for address in ("file:///etc/hostname", "ftp://example.org/a.mp4", "http:///a.mp4", "concat://a|b"):
        with pytest.raises(VideoError, match="only files and http"):
            VideoIndex(tmp_path, tmp_path / "downloads").find(address)
    assert not (tmp_path / "downloads").exists()


def test_downloaded_once_and_as_a_whole(tmp_path: Path, server: str) -> None:
    downloads = tmp_path / "downloads"
    index = VideoIndex(tmp_path, downloads)
    path = index.find(f"{server}/a.mp4?token=../../x")
    assert path.parent == downloads and path.suffix == ".mp4" and path.read_bytes() == Handler.body
    assert len(load_clip(path, fps=2, min_frames=4, max_frames=768, min_tokens=4, max_tokens=64).times) == 6
    assert index.find(f"{server}/a.mp4?token=../../x") == path and len(Handler.asked) == 1
    assert index.find(f"{server}/moved-good").read_bytes() == Handler.body
    assert len(list(downloads.iterdir())) == 2, "nothing unfinished is left"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.mp4", "HTTP 404"), ("torn.mp4", "cut off after|can't be downloaded"), ("moved-bad", "can't be downloaded")],
)
def test_what_fails_leaves_nothing(tmp_path: Path, server: str, name: str, reason: str) -> None:
    with pytest.raises(VideoError, match=reason) as caught:
        fetch(f"{server}/{name}", tmp_path / "downloads")
    assert name in str(caught.value) and not list((tmp_path / "downloads").iterdir())


def test_bounds(tmp_path: Path, server: str) -> None:
    with pytest.raises(VideoError, match="larger than"):
        fetch(f"{server}/a.mp4", tmp_path, most_bytes=100)
    with pytest.raises(VideoError, match="can't be downloaded"):
        fetch("http://127.0.0.1:9/a.mp4", tmp_path)


@pytest.mark.parametrize("path", ["slow_head.mp4", "slow_body.mp4"])
def test_a_trickle_is_given_up(tmp_path: Path, server: str, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(VideoError, match="not downloaded in 0.4 s, given up"):
        fetch(f"{server}/{path}", tmp_path, timeout_s=0.4)
    assert 0.4 <= time.monotonic() - began < 2 and not list(tmp_path.glob(".new-*"))


def test_what_is_no_http_is_that_videos_error(tmp_path: Path, server: str) -> None:
    with pytest.raises(VideoError, match=r"garbage\.mp4: can't be downloaded \(illegal status line: .*hello"):
        fetch(f"{server}/garbage.mp4", tmp_path)
