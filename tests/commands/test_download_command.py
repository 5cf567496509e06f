"""`trlt download` against servers of this machine, and what the modules of data sets say of their addresses."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from paths import ROOT, SHARED
from typer.testing import CliRunner

from trlt.cli import app
from trlt.data import download as downloads
from trlt.data.datasets import HUB, Fetch, Remote, is_pinned, load, names
from trlt.files.download import file_digests
from trlt.recipe import load_recipe

SHARED_FOLDERS = {"charades": "charades_sta"}


# -- what the modules say ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_addresses_are_of_known_hosts_and_files_are_those_that_are_read(name: str) -> None:
    module, found = load(name), load(name).FETCH
    read = {file for files in module.FILES.values() for file in files}
    for remote in (*found.files, *found.videos):
        origin = "/".join(remote.url.split("/")[:3])
        assert remote.url.startswith("https://") and (origin in downloads.ORIGINS or remote.url.startswith(HUB))
        assert re.fullmatch(r"|sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", remote.digest)
        assert not remote.path.startswith(("/", "..")) and "main" not in remote.url or not is_pinned(remote)
    for remote in found.files:
        assert remote.unpack or Path(remote.path).name in read, f"{remote.path}: nobody reads it"
    main = module.FILES[getattr(module, "TEST_SPLIT", None) or module.TRAIN_SPLIT]
    whole = set(main) <= {Path(remote.path).name for remote in found.files} | set(getattr(module, "OPTIONAL", ()))
    assert whole or any(one.unpack for one in found.files) or any(one.startswith("annotation:") for one in found.by_hand)
    assert found.videos or any(step.startswith("videos") for step in found.by_hand), "videos come from somewhere"
    for step in found.by_hand:
        assert step.format(data="D") and "{data}" in step


def test_the_papers_benchmarks_are_fetched_and_what_is_not_tells_how_to_get_it() -> None:
    fetched = set(downloads.fetchable())
    eight = {"activitynet", "activitynet_rtl", "charades", "mmvu", "mvbench", "nextgqa", "tempcompass", "videomme"}
    assert eight | {"qvhighlights", "tvgbench"} <= fetched and {"internvid", "vtg_it"} <= set(names()) - fetched
    for name in set(names()) - fetched:
        assert any(step.startswith("annotation") for step in downloads.fetch_of(name).by_hand), name


def test_folders_are_those_of_the_shipped_recipes() -> None:
    recipe, pool = load_recipe(Path("32k")), load_recipe(Path("full-490k"))
    places = {name: (place.annotations, place.videos) for name, place in recipe.eval.benchmarks.items()}
    places |= {source.dataset: (source.annotations, source.videos) for source in pool.prepare.sources}
    assert len(places) == 15
    for name, (folder, videos) in places.items():
        assert folder == f"data/{name}" and videos == f"data/{load(name).FETCH.videos_at or f'{name}/videos'}"


def test_checksums_are_those_of_the_real_files() -> None:
    if not SHARED.is_dir():
        pytest.skip("no real annotation here")
    compared = 0
    for name in names():
        folder = SHARED / "data/annotations" / SHARED_FOLDERS.get(name, name)
        for remote in load(name).FETCH.files:
            path = folder / Path(remote.path).name
            if path.is_file() and remote.digest:
                assert remote.digest in file_digests(path), path
                assert remote.size == path.stat().st_size
                compared += 1
    assert compared >= 14


# -- fetching ---------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}
    asked: list[str] = []

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        if self.path.startswith("/datasets/"):  # as the hub
            self.send_header("X-Repo-Commit", self.path.split("/")[5])
            self.send_header("ETag", f'"{hashlib.sha1(b"blob %d" % len(content) + bytes(1) + content).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(monkeypatch):
    made = type("Made", (Handler,), {"files": {}, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(downloads, "ORIGINS", {made.url})
        yield made
        server.shutdown()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def charades(served, monkeypatch):
    """Charades-STA's invented example, at a server that its module names."""
    module = load("charades")
    contents = {name: text.encode() for name, text in module.EXAMPLE.files.items()}
    served.files |= {f"/{name}": content for name, content in contents.items()}
    remotes = [Remote(f"{served.url}/{name}", len(text), f"sha256:{sha(text)}") for name, text in contents.items()]
    monkeypatch.setattr(module, "FETCH", Fetch(tuple(remotes), by_hand=("videos: into {data}/charades/videos",)))
    return contents


def test_a_benchmark_is_fetched_checked_and_read(trlt, charades, served, tmp_path):
    result = trlt("download", "charades", "--yes", "--json")
    [name, _] = charades
    assert (tmp_path / "data/charades" / name).read_bytes() == charades[name]
    made = result["datasets"]["charades"]
    assert made["questions"] == {"test": len(load("charades").EXAMPLE.samples)}
    assert [(one["state"], one["verified"]) for one in made["files"]] == [("fetched", "sha256")] * 2
    assert made["by_hand"] == ["videos: into data/charades/videos"]
    manifest = json.loads((tmp_path / "data/charades/download.json").read_text())
    assert {one["file"]: one["sha256"] for one in manifest["files"]} == {name: sha(text) for name, text in charades.items()}
    asked = len(served.asked)
    shown = trlt("download", "charades", "--yes")
    assert f"charades/{name}: {len(charades[name])} bytes, there already, by the SHA-256 that trlt knows" in shown
    assert len(served.asked) == asked, "nothing is fetched twice"
    assert "next, with videos in data/charades/videos: trlt eval --bench charades --annotations data/charades" in shown


def test_licenses_are_shown_first_and_asked_for(trlt, charades, served, tmp_path, monkeypatch):
    message = trlt("download", "charades", code=2)
    assert "accept them with --yes" in message and served.asked == []
    assert trlt("download", "charades", "--json", code=2).startswith("these data sets have licenses")
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("trlt.commands.download.sys", terminal)
    refused = CliRunner().invoke(app, ["download", "charades"], input="n\n")
    assert refused.exit_code == 2 and "Charades: non-commercial use" in refused.stdout and served.asked == []
    assert not (tmp_path / "data").exists()
    accepted = CliRunner().invoke(app, ["download", "charades"], input="y\n")
    assert accepted.exit_code == 0 and len(served.asked) == 2


def test_a_file_that_is_there_and_another_is_kept_and_told(trlt, charades, tmp_path):
    [name, _] = charades
    mine = tmp_path / "data/charades" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    message = trlt("download", "charades", "--yes", code=3)
    assert (
        f"{Path('data/charades') / name}: is there and isn't the file at" in message
        and "remove it to fetch that one" in message
    )
    assert mine.read_text() == "mine"


def test_what_fails_leaves_no_folder_and_the_others_are_fetched(trlt, charades, served, tmp_path, monkeypatch):
    monkeypatch.setattr(load("mmvu"), "FETCH", Fetch((Remote(f"{served.url}/validation.json"),)))
    message = trlt("download", "mmvu", "charades", "--yes", code=1)
    assert "download: 1 of 2 failed (mmvu)" in message
    assert not (tmp_path / "data/mmvu").exists() and (tmp_path / "data/charades/download.json").is_file()


def test_archives_are_unpacked_and_told_apart_from_what_is_missing(trlt, served, tmp_path, monkeypatch):
    module, packed = load("perceptiontest"), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr("mc_question_train.json", module.EXAMPLE.files["mc_question_train.json"])
    served.files["/a.zip"] = packed.getvalue()
    monkeypatch.setattr(module, "FETCH", Fetch((Remote(f"{served.url}/a.zip", unpack=True),)))
    first = trlt("download", "perceptiontest", "--yes", "--json")["datasets"]["perceptiontest"]
    assert sorted(one.name for one in (tmp_path / "data/perceptiontest").iterdir()) == [
        "download.json",
        "mc_question_train.json",
    ]
    assert first["files"][0]["verified"] is None and first["files"][0]["sha256"] == sha(packed.getvalue())
    assert list(first["questions"]) == ["train"] and first["files"][0]["members"] == ["mc_question_train.json"]
    again = trlt("download", "perceptiontest", "--yes", "--json")["datasets"]["perceptiontest"]["files"][0]
    assert again["state"] == "there" and served.asked == ["/a.zip"]
    (tmp_path / "data/perceptiontest/mc_question_train.json").unlink()
    trlt("download", "perceptiontest", "--yes")
    assert (tmp_path / "data/perceptiontest/mc_question_train.json").is_file()


def test_an_archive_that_found_no_room_is_not_fetched_again(trlt, served, tmp_path, monkeypatch):
    module, packed = load("perceptiontest"), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr("mc_question_train.json", module.EXAMPLE.files["mc_question_train.json"])
    served.files["/a.zip"] = packed.getvalue()
    monkeypatch.setattr(module, "FETCH", Fetch((Remote(f"{served.url}/a.zip", unpack=True),)))
    with monkeypatch.context() as small:
        small.setattr(downloads, "UNPACKED", 0)
        assert "unpacks to" in trlt("download", "perceptiontest", "--yes", code=3)
    made = trlt("download", "perceptiontest", "--yes", "--json")["datasets"]["perceptiontest"]["files"][0]
    assert made["sha256"] == sha(packed.getvalue()) and made["bytes"] == len(packed.getvalue())
    assert served.asked == ["/a.zip"] and not (tmp_path / "data/perceptiontest/a.zip").exists()


def test_a_file_of_unknown_checksum_is_held_to_the_one_that_was_seen(trlt, charades, served, tmp_path, monkeypatch):
    module = load("charades")
    remotes = [one._replace(digest="") for one in module.FETCH.files]
    monkeypatch.setattr(module, "FETCH", Fetch(tuple(remotes)))
    assert "not verified: no checksum is known" in trlt("download", "charades", "--yes")
    [name, _] = charades
    with (tmp_path / "data/charades" / name).open("a") as file:
        file.write("AAAAA 0.0 1.0##one more\n")
    assert "has changed since it was fetched" in trlt("download", "charades", "--yes", code=3)


def test_the_list_names_all_and_fetches_nothing(trlt, served):
    listed = trlt("download", "--list", "--json")["datasets"]
    assert [one["name"] for one in listed] == list(names()) and served.asked == []
    moving = {one["name"] for one in listed for file in one["files"] if not file["pinned"]}
    assert moving == {"gvideollm", "mvbench", "perceptiontest", "video_r1"}, "files of a branch, or of no version at all"
    shown = trlt("download", "--list")
    assert "hf download yale-nlp/MMVU --repo-type dataset --include 'videos/*' --local-dir data/mmvu" in shown, "in one line"


def test_unknown_names_end_it_before_anything_is_fetched(trlt, charades, served):
    assert "did you mean charades?" in trlt("download", "charades", "charads", "--yes", code=2)
    assert "which data sets?" in trlt("download", code=2) and served.asked == []


def test_files_of_the_hub_come_through_its_client(served, tmp_path):
    """At the pinned commit, from the endpoint that its environment variable names; checked by what the hub tells."""
    module = load("activitynet_rtl")
    [remote], [(name, text)] = module.FETCH.files, module.EXAMPLE.files.items()
    served.files["/" + remote.url.removeprefix(HUB)] = text.encode()
    env = os.environ | {"HF_ENDPOINT": served.url, "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "trlt", "download", "activitynet_rtl", "--yes", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [file] = json.loads(done.stdout)["datasets"]["activitynet_rtl"]["files"]
    assert file["revision"] == "a9ee31fbadef10278a9397eaf2771cafe8e344ab" and file["verified"] == "hub"
    assert file["sha256"] == sha(text.encode())
    assert sorted(one.name for one in (tmp_path / "data/activitynet_rtl").iterdir()) == sorted([name, "download.json"])


def test_without_the_hub_a_message_says_so(trlt, tmp_path):
    """The tests' environment is offline."""
    assert "HF_HUB_OFFLINE is set" in trlt("download", "activitynet_rtl", "--yes", code=1)
    assert not (tmp_path / "data").exists() or not (tmp_path / "data/activitynet_rtl").exists()
