"""Training gives the recorded metrics; `tests/golden/README.md` says how they are recorded."""

from __future__ import annotations

import json

import pytest
from golden.record import METHODS, measure, path

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.mark.parametrize("method", METHODS)
def test_the_metrics_are_the_recorded_ones(method):
    recorded = json.loads(path(method).read_text(encoding="utf-8"))
    found = measure(method)
    assert [row["step"] for row in found] == [row["step"] for row in recorded]
    for row, was in zip(found, recorded, strict=True):
        assert row["loss"] == pytest.approx(was["loss"], abs=1e-4)
        assert row["grad_norm"] == pytest.approx(was["grad_norm"], rel=1e-3)
        for name in was.keys() & {"reward", "reward_range", "length"}:
            assert row[name] == pytest.approx(was[name], abs=1e-6), (row["step"], name)
