"""A user's Python file: run once, with its neighbours, and every mistake is told with file and line."""

from __future__ import annotations

import sys

import pytest

from trlt.errors import RecipeError
from trlt.files.own_code import load_file


@pytest.fixture
def write(tmp_path):
    def go(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return go


def test_it_is_run_once_until_it_or_a_neighbour_changes(write, tmp_path):
    path = write("a.py", "from open_count import count\ncount()\nfrom own_words import word\n")
    count = f"from pathlib import Path\npath = Path({str(tmp_path / 'runs')!r})\n"
    count += "def count():\n    path.write_text((path.read_text() if path.exists() else '') + 'x')\n"
    write("open_count.py", count)
    neighbour = write("own_words.py", "word = 'one'\n")
    first = load_file(path)
    assert load_file(path) is first and (tmp_path / "runs").read_text() == "x"
    assert list(first.files) == ["a.py", "open_count.py", "own_words.py"]
    neighbour.write_text("word = 'two'\n")
    again = load_file(path)
    assert (first.module.word, again.module.word) == ("one", "two") and (tmp_path / "runs").read_text() == "xx"
    path.write_text("word = 3\n")
    assert load_file(path).module.word == 3 and list(load_file(path).files) == ["a.py"]


def test_nothing_is_left_behind(write, tmp_path):
    """Two folders' neighbours of one name aren't taken for each other; no compiled copies appear."""
    before, path = set(sys.modules), list(sys.path)
    found = []
    for number in (1, 2):
        write(f"{number}/own_helper.py", f"value = {number}\n")
        found.append(load_file(write(f"{number}/same.py", "from own_helper import value\n")).module.value)
    assert found == [1, 2] and sys.path == path
    new = set(sys.modules) - before
    assert len(new) == 2 and all(name.startswith("trlt_own_") and name.endswith("_same") for name in new)
    assert not [*tmp_path.rglob("__pycache__")]


def test_dataclasses_and_installed_modules_work(write):
    """The first look their module up by its name; the second stay where they were found."""
    path = write(
        "b.py",
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport sched\n\n"
        "@dataclass\nclass A:\n    x: int\n",
    )
    assert load_file(path).module.A(3).x == 3 and "sched" in sys.modules


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def near(a b):\n    pass\n", r"c\.py:1: not Python: "),
        ("x = 1\n\ny = 1 / 0\n", r"c\.py:3: ZeroDivisionError: division by zero; the file is run when it is loaded"),
        ("import nothing_of_that_name\n", r"c\.py:1: ModuleNotFoundError: "),
        ("import sys\nsys.exit(3)\n", r"c\.py:2: SystemExit: 3"),
        ("x = '\0'\n", r"c\.py.*: not Python: source code (string )?cannot contain null bytes"),
    ],
)
def test_what_cannot_be_run_is_told_with_its_line(write, text, told):
    before = list(sys.path)
    with pytest.raises(RecipeError, match=told):
        load_file(write("c.py", text))
    assert sys.path == before


def test_a_neighbour_that_is_no_python_is_told_with_its_name(write):
    write("own_broken.py", "def\n")
    with pytest.raises(RecipeError, match=r"own_broken\.py:1: not Python"):
        load_file(write("d.py", "import own_broken\n"))


def test_what_is_no_file_of_python(tmp_path):
    with pytest.raises(RecipeError, match=r"gone\.py: can't be read \(No such file.*relative to the working directory"):
        load_file(tmp_path / "gone.py")
    with pytest.raises(RecipeError, match=r"rewards\.txt: expected a Python file"):
        load_file(tmp_path / "rewards.txt")


def test_a_function_that_is_not_there(write):
    file = load_file(
        write("e.py", "from math import sqrt\nlimit = 3\ndef near(): pass\ndef _hidden(): pass\nclass Kind: pass\n")
    )
    assert list(file.own_functions()) == ["near"]
    with pytest.raises(RecipeError, match=r"e\.py: has no function 'neer'; did you mean near\?"):
        file.function("neer")
    with pytest.raises(RecipeError, match=r"e\.py: limit is no function, but 3"):
        file.function("limit")
