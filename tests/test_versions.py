"""How it is noted what was run with which versions."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import pytest
import versions
from paths import ROOT

sys.path.insert(0, str(ROOT))
from docs.tools import versions_page  # noqa: E402

REPORT = """<testsuites><testsuite name="pytest">
<testcase classname="tests.train.test_arguments" name="test_a"/>
<testcase classname="tests.train.test_arguments" name="test_b[x.y]"><skipped message="no"/></testcase>
<testcase classname="tests.engine.test_forest" name="test_c"><failure message="1">.</failure></testcase>
<testcase classname="tests.engine.test_forest" name="test_c"><error message="1">.</error></testcase>
<testcase classname="tests.engine.test_forest.TestIt" name="test_d"><properties/></testcase>
<testcase classname="" name="tests.engine.test_mrope"><error message="collection failure">.</error></testcase>
<testcase classname="pytest" name="internal"><error message="internal error">KeyboardInterrupt</error></testcase>
</testsuite></testsuites>"""


def entry(date: str, **changed: str) -> dict:
    known = {"transformers": "5.23.0", "trl": "1.16.0", "accelerate": "1.15.0", "peft": "0.21.2", "torch": "2.15.0"}
    return {"date": date, "versions": known | changed}


def test_outcomes_are_counted() -> None:
    found = versions.counts(REPORT)
    assert found.keys() == versions.PARTS.keys()
    assert found["settings"] == {"passed": 1, "failed": 0, "skipped": 1}
    assert found["engine"] == {"passed": 1, "failed": 3, "skipped": 0}
    assert found["names"] == {"passed": 0, "failed": 0, "skipped": 0}
    assert versions_page.outcome({"passed": 14, "failed": 3, "skipped": 0}) == "14 passed, 3 failed"
    assert versions_page.outcome({"passed": 0, "failed": 0, "skipped": 0}) == "not run"


def test_an_entry_takes_the_place_of_one_with_the_same_versions() -> None:
    before = [entry("monday", transformers="5.9.0"), entry("monday")]
    found = json.loads(versions.written(before, entry("tuesday")))
    assert found == [entry("monday", transformers="5.9.0"), entry("tuesday")]
    later = json.loads(versions.written(found, entry("friday", transformers="5.100.0")))
    assert [one["versions"]["transformers"] for one in later] == ["5.9.0", "5.23.0", "5.100.0"]


def test_parts_are_there() -> None:
    for paths in versions.PARTS.values():
        assert paths and all((ROOT / path).exists() for path in paths)


@pytest.mark.slow
def test_an_environment_has_its_own_version_before_this_ones(tmp_path) -> None:
    wheel = tmp_path / "peft-0.99-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("peft/__init__.py", "OURS = True\n")
        file.writestr("peft-0.99.dist-info/METADATA", "Metadata-Version: 2.1\nName: peft\nVersion: 0.99\n")
        file.writestr(
            "peft-0.99.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr("peft-0.99.dist-info/RECORD", "")
    versions.make(tmp_path / "env", [str(wheel)])
    look = "import importlib.metadata as m, peft, numpy; print(m.version('peft'), peft.OURS, m.version('numpy') != '')"
    python = tmp_path / "env/bin/python"
    assert subprocess.check_output([python, "-c", look], text=True, env={}).split() == ["0.99", "True", "True"]
    with pytest.raises(SystemExit, match="is there already"):
        versions.make(tmp_path / "env", [str(wheel)])
