"""Another TRL than the one that trlt builds on is told, and not trained with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from trl import GRPOTrainer

from trlt.errors import TrltError
from trlt.recipe import load_recipe
from trlt.train import grpo
from trlt.train.trl_fit import LEFT, misfits, require_fit, unknown_settings


class Theirs:
    """As a library's trainer."""

    def same(self, model: Any, inputs: Any) -> None: ...
    def longer(self, model: Any, inputs: Any, pixels: Any = None, grid: Any = None) -> None: ...
    def other(self, model: Any, rows: Any) -> None: ...
    def more(self, model: Any, inputs: Any, weights: Any = None) -> None: ...


class Ours(Theirs):
    """As trlt's, which overrides it."""

    def same(self, model: Any, inputs: Any) -> None: ...
    def longer(self, model: Any, inputs: Any, **unused: Any) -> None: ...
    def other(self, model: Any, inputs: Any) -> None: ...
    def more(self, model: Any, inputs: Any) -> None: ...
    def renamed(self, model: Any) -> None: ...


Theirs.__module__, Ours.__module__ = "trl.trainer.grpo_trainer", "trlt.train.grpo"


def test_what_fits_is_not_told() -> None:
    assert misfits(Ours, ["same", "longer"]) == []
    require_fit(Ours, ["same", "longer"], "9.9.9")


def test_what_is_renamed_or_takes_something_else_ends_the_run() -> None:
    assert misfits(Ours, ["renamed"]) == ["renamed isn't there"]
    assert misfits(Ours, ["other"]) == ["other takes (self, model, rows), not (self, model, inputs)"]
    assert misfits(Ours, ["more"]) == ["more also takes weights"]
    with pytest.raises(TrltError, match=r"^TRL 9\.9\.9: .*: renamed isn't there; other takes .*`trlt doctor`"):
        require_fit(Ours, ["same", "renamed", "other"], "9.9.9")


def test_the_installed_one_fits() -> None:
    assert misfits(grpo.VideoGRPOTrainer, grpo.OVERRIDDEN) == []
    assert grpo.unknown(load_recipe(None)) == []


@pytest.mark.parametrize("name", grpo.OVERRIDDEN)
def test_a_trainer_whose_method_is_gone_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(GRPOTrainer, name)
    assert misfits(grpo.VideoGRPOTrainer, grpo.OVERRIDDEN) == [f"{name} isn't there"]
    with pytest.raises(TrltError, match=name):
        grpo.VideoGRPOTrainer(None, None, None, Path(), None)  # type: ignore[arg-type]


def test_a_setting_that_is_new_or_has_another_default_is_named() -> None:
    made = dataclasses.make_dataclass("Made", [("beta", float, 0.5), ("top_k", int, LEFT["top_k"]), ("kl_sign", int, 1)])
    assert unknown_settings(dataclasses.fields(made), ["beta"]) == ["kl_sign"]
    moved = dataclasses.make_dataclass("Moved", [("beta", float, 0.5), ("top_k", int, 50)])
    assert unknown_settings(dataclasses.fields(moved), ["beta"]) == ["top_k"]
    assert unknown_settings(dataclasses.fields(moved), []) == ["beta", "top_k"]
