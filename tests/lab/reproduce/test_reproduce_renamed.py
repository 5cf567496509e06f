"""Plans and records of the version before are read as today's."""

from __future__ import annotations

import json

from reproduce_plans import values

from trlt.lab.reproduce.claims_plan import load_plan
from trlt.lab.reproduce.records import read_records
from trlt.recipe._yaml import to_yaml


def test_a_plan_of_before_is_the_same_plan(tmp_path, capsys):
    now = values()
    before = json.loads(json.dumps(now))
    before["figures"] = before.pop("metrics")
    for claim in before["claims"]:
        claim["figure"] = claim.pop("metric")
    for name, plan in (("now", now), ("before", before)):
        (tmp_path / f"{name}.yaml").write_text(to_yaml(plan), encoding="utf-8")
    assert load_plan(tmp_path / "now.yaml") == load_plan(tmp_path / "before.yaml")
    told = capsys.readouterr().err
    assert (
        told.startswith(f"{tmp_path / 'before.yaml'}: names of an older version (figures is metrics now)")
        and told.count("\n") == 1
    )


def test_a_record_of_before_counts(tmp_path):
    record = {"plan": "small", "arm": "tvg", "seed": 0, "run": "a" * 64, "figures": {"train.zero_spread": 0.5, "train.kl": 0.1}}
    record |= {"reward": [], "seconds": {}, "places": {}, "versions": {}, "when": "2030-01-01T00:00:00+00:00"}
    (tmp_path / "runs.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    [found] = read_records(tmp_path / "runs.jsonl")
    assert found.metrics == {"train.frac_zero_range": 0.5, "train.kl": 0.1}
