"""What goes to a hub, and what never does; the hub is a fake one."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trlt.commands._output import Output
from trlt.commands.push import push
from trlt.errors import ModelError, TrltError, UsageError


class Hub:
    """Stands in for `HfApi`; keeps what it is told."""

    def __init__(self) -> None:
        self.repos: dict[str, bool] = {}
        """Name to whether it is private."""
        self.uploads: list[dict[str, Any]] = []
        self.fault: Exception | None = None

    def __call__(self) -> Hub:
        return self

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> Any:
        if self.fault:
            raise self.fault
        assert exist_ok
        full = repo_id if "/" in repo_id else f"me/{repo_id}"
        self.repos.setdefault(full, private)
        return SimpleNamespace(repo_id=full)

    def repo_info(self, repo_id: str) -> Any:
        return SimpleNamespace(private=self.repos[repo_id])

    def upload_folder(self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str) -> Any:
        files = [str(path.relative_to(folder_path)) for path in sorted(folder_path.rglob("*")) if path.is_file()]
        sent = [file for file in files if any(fnmatch(file, pattern) for pattern in allow_patterns)]
        self.uploads.append({"repo": repo_id, "files": sent, "message": commit_message})
        return SimpleNamespace(commit_url=f"https://hub.invalid/{repo_id}/commit/1")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_x")
    return hub


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a model, and with much that is nobody's business."""
    folder = tmp_path / "run"
    secret = tmp_path / "secret.json"
    secret.write_text("mine")
    for name in (
        "model-00001-of-00001.safetensors",
        "model[1].json",
        "config.json",
        "README.md",
        "chat_template.jinja",
        "generation_config.json",
    ):
        (folder / "model").mkdir(parents=True, exist_ok=True)
        (folder / "model" / name).write_text("x")
    for name in ("log.jsonl", "recipe.yaml", "model/training_args.bin", "model/.hidden.json", "model/logs/config.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    (folder / "model" / "link.json").symlink_to(secret)
    return folder


@pytest.fixture
def quiet() -> Output:
    return Output(json_mode=True)


SENT = [
    "README.md",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model-00001-of-00001.safetensors",
    "model[1].json",
]


def test_the_model_goes_up_and_nothing_else(hub, run, quiet):
    found = push(run, "name", output=quiet)
    assert hub.repos == {"me/name": True}, "private"
    [upload] = hub.uploads
    assert upload["repo"] == "me/name" and upload["files"] == SENT and "trlt" in upload["message"]
    assert found == {
        "repo": "me/name",
        "url": "https://hub.invalid/me/name/commit/1",
        "private": True,
        "files": SENT,
        "bytes": 6,
    }


def test_a_folder_of_a_model_alone_goes_up_too(hub, run, quiet):
    assert push(run / "model", "me/name", output=quiet)["files"] == SENT
    push(run, "me/name", output=quiet)
    assert len(hub.uploads) == 2, "a repository that is there takes the next version"


def test_public_is_said_or_refused(hub, run, quiet):
    assert push(run, "me/open", public=True, output=quiet)["private"] is False
    assert hub.repos["me/open"] is False
    with pytest.raises(UsageError, match="me/open: is there already and public; give --public"):
        push(run, "me/open", output=quiet)
    assert len(hub.uploads) == 1


def test_a_folder_without_safetensors_is_refused(hub, run, quiet, tmp_path):
    (run / "model" / "model-00001-of-00001.safetensors").rename(run / "model" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"model: holds no \*.safetensors file"):
        push(run, "me/name", output=quiet)
    with pytest.raises(ModelError, match="nowhere: no such folder"):
        push(tmp_path / "nowhere", "me/name", output=quiet)
    (run / "model" / "pytorch_model.bin").rename(run / "model" / "model.safetensors")
    (run / "model" / "config.json").unlink()
    with pytest.raises(ModelError, match="holds no config.json"):
        push(run, "me/name", output=quiet)
    (run / "model" / "adapter_config.json").write_text("x")
    assert "adapter_config.json" in push(run, "me/name", output=quiet)["files"]
    assert len(hub.uploads) == 1


def test_faults_are_told_before_anything_is_sent(hub, run, quiet, monkeypatch):
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    for name in ("a/b/c", "", "-x", "a..b"):
        with pytest.raises(UsageError, match="is no name of a repository .*give `owner/name`"):
            push(run, name, output=quiet)
    refusal = HfHubHTTPError("403 Forbidden\nno right\x1b[1m", response=SimpleNamespace(headers={}, request=None))
    for fault, words in (
        (refusal, r"me/name: the hub refuses \(403 Forbidden no right\\x1b\[1m\); .* may the token write there"),
        (HTTPError("no route"), r"me/name: the hub can't be reached \(HTTPError: no route\); .* a network"),
        (OfflineModeIsEnabled("offline"), r"the hub can't be reached \(OfflineModeIsEnabled: offline\)"),
    ):
        hub.fault = fault
        with pytest.raises(TrltError, match=words):
            push(run, "me/name", output=quiet)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(UsageError, match="no token of the hub: run `hf auth login`, or set HF_TOKEN"):
        push(run, "me/name", output=quiet)
    assert not hub.uploads
