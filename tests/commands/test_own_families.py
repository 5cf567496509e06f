"""Options in columns under names of a user's own, and letters without options."""

from __future__ import annotations

import pytest

from trlt.data.own import Columns
from trlt.data.own.families import families, lone_letter
from trlt.errors import RecipeError
from trlt.task.sample import read_samples

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

HEAD = "Video;Frage;{};Lösung\n"
FORMER = "video=Video,question=Frage,answer=Lösung"


def table(tmp_path, head, *rows):
    path = tmp_path / "de.csv"
    path.write_text(HEAD.format(head) + "".join(f"a.mp4;{row}\n" for row in rows), encoding="utf-8")
    return path


def core(path):
    return [(s.task, s.options, s.answer) for s in read_samples(path)]


GERMAN = ["Was?;rot;blau;grün;A", "Wer?;Hund;Katze;Kuh;(c)"]
WANTED = [
    ("multi_choice", ("rot", "blau", "grün"), "rot"),
    ("multi_choice", ("Hund", "Katze", "Kuh"), "Kuh"),
]


def test_columns_that_end_in_letters_are_options_where_the_answers_say_so(trlt, tmp_path):
    path = table(tmp_path, "Antwort A;Antwort B;Antwort C", *GERMAN)
    shown = trlt("prepare", path, "--map", FORMER, "--out", "s.jsonl")
    assert core(tmp_path / "s.jsonl") == WANTED and "not used" not in shown and "Antwort A … Antwort C" in shown


@pytest.mark.parametrize(
    ("head", "mapped"),
    [
        ("Antwort A;Antwort B;Antwort C", "option_a=Antwort A,option_b=Antwort B,option_c=Antwort C"),
        ("Rechts;Mitte;Ganz links", "option_a=Rechts,option_c=Ganz links,option_b=Mitte"),
        ("Rechts;Mitte;Ganz links", "options=Rechts|Mitte|Ganz links"),
        ("Rechts;Mitte;Ganz links", "options=Rechts+Mitte+Ganz links"),
    ],
)
def test_a_map_names_columns_of_options(trlt, tmp_path, head, mapped):
    path = table(tmp_path, head, *GERMAN)
    shown = trlt("prepare", path, "--map", f"{FORMER},{mapped}", "--out", "s.jsonl")
    assert core(tmp_path / "s.jsonl") == WANTED and "not used" not in shown


@pytest.mark.parametrize("answer", ["A", "(A)", "A.", "a", "b)"])
def test_a_letter_without_options_is_a_fault(trlt, tmp_path, answer):
    path = table(tmp_path, "Rechts;Links", f"Was?;rot;blau;{answer}")
    message = trlt("prepare", path, "--map", FORMER, "--out", "s.jsonl", code=3)
    assert (
        f"de.csv:2: answer: {answer!r} is a letter, and there are no options; name their columns with --map option_a="
        in message
    )
    assert not (tmp_path / "s.jsonl").exists()


def test_families_that_do_not_fit_are_proposed_and_never_guessed(trlt, tmp_path):
    # 'D' is no letter of the three columns, so the answers don't tell that these hold the options.
    path = table(tmp_path, "Antwort A;Antwort B;Antwort C", *GERMAN, "Wo?;x;y;z;D")
    message = trlt("prepare", path, "--map", FORMER, "--out", "s.jsonl", code=3)
    assert message.count("--map option_a='Antwort A',option_b='Antwort B',…") == 3
    # Two families fit: either could be meant.
    path = table(tmp_path, "Antwort A;Antwort B;Typ A;Typ B", "Was?;rot;blau;x;y;A")
    assert "is a letter, and there are no options" in trlt("prepare", path, "--map", FORMER, "--out", "s.jsonl", code=3)
    # Answers in words are none of what two people noted.
    path = table(tmp_path, "Person A;Person B", "Was?;gut;schlecht;ein Hund")
    shown = trlt("prepare", path, "--map", FORMER, "--out", "s.jsonl")
    assert core(tmp_path / "s.jsonl") == [("multi_choice", None, "ein Hund")] and "not used: Person A, Person B" in shown


def test_families_go_on_from_a():
    names = ["Choice A", "choice B", "Choice D", "note_b", "note_c", "x-a", "x-b", "Video", "Plan B"]
    assert families(names) == [["Choice A", "choice B"], ["x-a", "x-b"]]


@pytest.mark.parametrize(
    ("said", "letter"),
    [("A", "A"), (" b ", "B"), ("(c)", "C"), ("D.", "D"), ("e)", "E"), ("x", None), ("(x)", "X"), ("no", None), ("1", None)],
)
def test_lone_letters(said, letter):
    assert lone_letter(said) == letter


@pytest.mark.parametrize(
    "given",
    [
        {"option_a": "x"},
        {"option_a": "x", "option_c": "y"},
        {"option_a": "x", "option_b": ""},
        {"option_a": "x", "option_b": "y", "options": "z"},
    ],
)
def test_columns_of_options_that_do_not_go_on(given):
    with pytest.raises(RecipeError, match="option_a.*: name a column for each option, from option_a on without a gap"):
        Columns(given)
