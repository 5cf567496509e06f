"""A name stands for a shipped recipe wherever a path may stand; a file that exists goes before it."""

from __future__ import annotations

from pathlib import Path

import pytest
from paths import ROOT

from trlt.errors import RecipeError
from trlt.lab.reproduce.claims_plan import load_plan
from trlt.recipe import is_plan, load_recipe, name_of, recipe_file, shipped
from trlt.recipe.names import FOLDER


def test_the_package_holds_all_of_them_and_the_repositorys_folder_is_a_link():
    """Links inside of the package would be none in a wheel, a zip or an sdist."""
    files = {path for path in FOLDER.rglob("*.yaml")}
    assert files == set(shipped().values()) and len(files) > 20
    assert not any(path.is_symlink() for path in FOLDER.rglob("*"))
    there = {path.relative_to(ROOT / "recipes"): path.read_bytes() for path in (ROOT / "recipes").rglob("*.yaml")}
    assert there == {path.relative_to(FOLDER): path.read_bytes() for path in files}
    assert {"32k", "ablations/table2-all", "ablations/plans/evidence"} <= shipped().keys()
    assert [name for name in shipped() if is_plan(name)] == [
        "ablations/plans/choosing",
        "ablations/plans/evidence",
        "ablations/plans/follow-up",
    ]


def test_the_build_is_told_of_every_one():
    """What `package-data` of pyproject.toml takes, as setuptools' globs do; the build itself is tried elsewhere."""
    import tomllib

    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["trlt"]
    taken = {path for pattern in patterns for path in (ROOT / "trlt").glob(pattern)}
    assert set(shipped().values()) <= taken


RARE = "ablations/table4a-2-6-2"
"""No other test gives a name in these spellings: each is told once per process."""


@pytest.mark.parametrize("given", [f"{RARE}.yaml", f"{RARE}.yml", f"recipes/{RARE}.yaml", f"recipes/{RARE}"])
def test_a_name_with_or_without_folder_and_suffix(given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = FOLDER / f"{RARE}.yaml"
    assert name_of(given) == RARE
    assert load_recipe(Path(given)) == load_recipe(file)
    assert capsys.readouterr().err == f"{given}: the recipe that ships with trlt, {file}\n"
    assert recipe_file(given) == file and capsys.readouterr().err == "", "told once"


def test_a_file_that_exists_goes_before_a_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "32k").write_text("name: mine\n")
    assert load_recipe(recipe_file("32k")).name == "mine" and not capsys.readouterr().err
    (tmp_path / "32k").unlink()
    (tmp_path / "32k").mkdir()
    assert load_recipe(recipe_file("32k")).name == "32k", "a folder is no recipe"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("32kk", r"32kk: no such file, .*; did you mean 32k\?"),
        ("Table2-All", r"did you mean ablations/table2-all\?"),
        ("recipes/qwen3-vl-8.yaml", r"did you mean qwen3-vl-8b\?"),
        ("xyzzy", r"give its path, or a name, e.g. 32k \(`trlt recipe list`"),
    ],
)
def test_a_name_with_a_typo(given, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=said):
        load_recipe(Path(given))


def test_plans_and_recipes_aren_t_taken_for_one_another():
    with pytest.raises(RecipeError, match="this is a plan, not a recipe: `trlt reproduce --plan ablations/plans/evidence`"):
        load_recipe(Path("ablations/plans/evidence"))
    with pytest.raises(RecipeError, match="this is a recipe, not a plan"):
        load_plan(Path("32k"))
    assert load_plan(Path("ablations/plans/follow-up")).name == "follow-up"
