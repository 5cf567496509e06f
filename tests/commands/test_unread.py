"""Outputs that no protocol reads are shown, with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trlt.evaluate.question_scores import read_items
from trlt.evaluate.unread import excerpt, unread_lines

GOLD = "<answer> 0 to 1 </answer>"
IDS = ("AAAAA:0", "AAAAA:1", "BBBBB:2", "BBBBB:3")


@pytest.fixture
def shown(trlt, bench, write_jsonl, tmp_path):
    def go(*texts):
        path = write_jsonl(tmp_path / "p.jsonl", [{"id": id, "text": text} for id, text in zip(IDS, texts, strict=False)])
        out = trlt(
            "eval", "-b", "charades", "--annotations", bench, "--predictions", path, "--out", "run", "--no-page", "--fresh"
        )
        return out.partition("aren't read")[2], out

    return go


def test_outputs_that_nothing_reads_are_shown_escaped_with_their_ids(shown):
    said, out = shown("I can't\ntell \x1b[31mred [bold]now[/]", "I can't tell.", GOLD, GOLD)
    assert "charades: 2 of 4 outputs aren't read by any protocol, such as:" in out
    assert r"AAAAA:0: \"I can't\\ntell \\x1b[31mred [bold]now[/]\"".replace('\\"', '"').replace("\\\\", "\\") in said
    assert 'AAAAA:1: "I can\'t tell."' in said and "\x1b" not in out
    assert "2 state no answer, or several: `trlt eval --samples` writes prompts that ask for one in tags" in said


def test_three_that_differ_are_shown_and_each_kind_has_its_remedy(shown):
    said, _ = shown("<think> he sits, and", "", "<answer> soon </answer>", "soon")
    lines = [line.strip() for line in said.splitlines()]
    assert lines[1:4] == ["AAAAA:0: '<think> he sits, and'", "AAAAA:1: ''", "BBBBB:2: '<answer> soon </answer>'"]
    assert "1 begin to reason and never end: let the model write more tokens, or ask without reasoning" in lines
    assert "1 are empty: look whether the model failed there" in lines
    assert any(line.startswith("1 have tags, and no answer in them: ") for line in lines)
    same, _ = shown("soon", "soon", "soon", "soon")
    assert same.count("'soon'") == 1


def test_nothing_is_said_where_the_outputs_are_read(shown):
    for texts in ([GOLD] * 4, ["from 0 to 1 s"] * 4, ["It is at 0 to 1."] * 4, [GOLD]):
        assert shown(*texts)[0] == ""


def test_a_models_own_outputs_that_were_cut_off_are_told_with_the_recipes_key(shown):
    shown("<think> he", "he sits because", "he", GOLD)
    columns = read_items(Path("run/items/charades.parquet"))
    lines = "\n".join(unread_lines("charades", columns, {"AAAAA:0": True, "AAAAA:1": True, "BBBBB:2": False, "BBBBB:3": False}))
    new = "in a new run (another --out, or --fresh)"
    assert f"1 begin to reason and never end: raise eval.max_new_tokens {new}, or ask without reasoning (--no-think)" in lines
    assert f"1 end at the limit of tokens: raise eval.max_new_tokens {new}" in lines
    assert "1 state no answer, or several: the model may be trained for another template" in lines


def test_a_models_own_run_shows_them(trlt, bench, fast):
    out = trlt("eval", "-b", "charades", "--annotations", bench, "--videos", bench, "--out", "run", "--no-page", *fast)
    rows = [json.loads(line) for line in Path("run/rows/charades.jsonl").read_text().splitlines()]
    assert "4 of 4 outputs aren't read by any protocol" in out and f"{rows[0]['id']}: " in out
    assert any(mark in out for mark in ("raise eval.max_new_tokens", "another template", "end mark"))


def test_a_long_output_loses_its_middle():
    said = excerpt("a" * 500 + "so it is B")
    assert len(said) < 170 and said.startswith("'aaa") and said.endswith("so it is B'") and " … " in said
