"""Private names of libraries that trlt leans on: all are listed here, and each is still there."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import accelerate
import pytest
import torch
import transformers
from paths import ROOT
from transformers import PreTrainedModel, Trainer, core_model_loading
from trl import GRPOTrainer

from trlt.train import grpo

PACKAGE = ROOT / "trlt"
METHODS = {
    **dict.fromkeys(grpo.OVERRIDDEN, GRPOTrainer),  # test_trl_fit.py compares what they take
    "_save_checkpoint": Trainer,
    "_load_from_checkpoint": Trainer,
    "_init_weights": PreTrainedModel,
}
"""That are overridden or called."""
ATTRIBUTES: dict[str, Any] = {
    "_metrics": GRPOTrainer.__init__,
    "_step": GRPOTrainer.__init__,
    "_train_batch_size": Trainer.__init__,
    "_attn_implementation": transformers.PreTrainedConfig,
    "_weight_conversions": core_model_loading,
    "_buffers": torch.nn.Module,
    "_shared_state": accelerate.PartialState,
}
"""To what sets or reads them."""
NAMED_TUPLES = {"_asdict", "_fields", "_replace"}
"""Public, whatever they look like; as is `os._exit`."""


def made_and_used() -> tuple[set[str], set[str]]:
    """Private names that the package defines, and those that it uses as attributes."""
    made, used = set(), set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                made.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                made.add(node.id)
            elif isinstance(node, ast.Attribute):
                used.add(node.attr)
                if isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self":
                    made.add(node.attr)
    return made, {name for name in used if name.startswith("_") and not name.startswith("__")}


def test_all_are_listed() -> None:
    made, used = made_and_used()
    assert used - made - NAMED_TUPLES - {"_exit"} <= {*METHODS, *ATTRIBUTES}, "of a library; list it here with its owner"
    assert {*METHODS, *ATTRIBUTES} <= used | made, "no longer used"


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_there(name: str) -> None:
    assert callable(getattr(METHODS[name], name))


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_are_there(name: str) -> None:
    assert name in inspect.getsource(ATTRIBUTES[name])
