"""The recipe's section `prompt`: files, faults, and what distinguishes runs."""

import pytest

from trlt.errors import RecipeError
from trlt.recipe import Recipe, dump_recipe, load_recipe, tells_apart
from trlt.task.layout import PAPER

ASK = "{{ question }}\nSay {{ format }}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder `at` with a recipe and a template beside it, seen from outside."""
    (tmp_path / "at").mkdir()
    (tmp_path / "at/ask.jinja").write_text(ASK)
    (tmp_path / "at/r.yaml").write_text("prompt: {template: ask.jinja}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "at"


def test_without_the_section_the_words_are_ours():
    assert Recipe().prompt.words().version == "2"
    same = load_recipe(None, sets=["prompt.system=You answer questions about a video."])
    assert same.prompt.words().version == "2" and not tells_apart("probe", Recipe(), Recipe())
    papers = Recipe.model_validate({"prompt": {"format": dict(PAPER)}})
    assert papers.prompt.words().version == "2", "the paper's tags, written out"


def test_a_saved_recipe_holds_the_text_of_its_files(folder):
    recipe = load_recipe(folder / "r.yaml")
    assert recipe.prompt.template == {"all": ASK} and recipe.prompt.name == "ask.jinja"
    (folder / "saved.yaml").write_text(dump_recipe(recipe))
    (folder / "ask.jinja").unlink()
    assert load_recipe(folder / "saved.yaml") == recipe
    with pytest.raises(RecipeError, match=r"r.yaml: prompt.template: ask.jinja: can't be read \(No such file or directory\)"):
        load_recipe(folder / "r.yaml")


def test_files_are_looked_for_here_and_then_beside_the_recipe(folder):
    (folder.parent / "ask.jinja").write_text("here {{ question }}")
    assert load_recipe(folder / "r.yaml").prompt.template == {"all": "here {{ question }}"}
    (folder.parent / "words").write_text("other {{ question }}")
    (folder / "system.txt").write_text("Be short.\n")
    sets = ["prompt.template={all: words, grounding: 'When {{ question }}'}", "prompt.system=system.txt"]
    prompt = load_recipe(folder / "r.yaml", sets=sets).prompt
    assert prompt.name == "words, system.txt" and prompt.system == "Be short.\n"
    own = prompt.words()
    assert own.system == "Be short."
    assert dict(own.templates) == {
        "multi_choice": "other {{ question }}",
        "grounded_qa": "other {{ question }}",
        "grounding": "When {{ question }}",
    }


def test_tasks_have_templates_and_formats_of_their_own():
    own = load_recipe(None, sets=["prompt.format={grounding: '<t>{span}</t>'}"]).prompt.words()
    assert own.layouts == (("grounding", "<t>{span}</t>"),) and own.templates == ()


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("{template: no.j2}", r"r.yaml: prompt.template: no.j2: can't be read"),
        ("{template: '{{ qestion }}'}", "r.yaml: prompt.template: line 1: 'qestion' is no field; did you mean question?"),
        ("{template: bad.jinja}", "r.yaml: prompt.template: bad.jinja: line 3: 'x' is no field; There are question, task"),
        ("{template: {grounding: '{{ question'}}", "r.yaml: prompt.template: grounding: line 1: unexpected end of template"),
        ("{template: {tvg: '{{ question }}'}}", "r.yaml: prompt.template.tvg"),
        ("{template: half.txt}", r"half.txt: isn't UTF-8 text \(byte 0\)"),
        ("{template: '<video> {{ question }}'}", "line 1: holds <video>; take it out: the video stands before the user's text"),
        ("{template: '{{ question }}<|im_end|>'}", r"line 1: holds the mark '<\|im_end\|>'; take it out: the model's own chat"),
        ("{system: 'a <|im_end|>'}", r"prompt.system: line 1: holds the mark"),
        ("{system: 'a {{ question }}'}", "prompt.system: is text as it stands, and shows no fields; put them into prompt.temp"),
        (
            "{format: '<a>{anwser}</a>'}",
            r"prompt.format: '<a>\{anwser\}</a>': \{anwser\} is no place of a format; did you mean",
        ),
        ("{format: {grounding: '{span} {reasoning}'}}", "prompt.format: grounding: .*can't be told apart"),
        ("{format: '<|im_end|>{answer}'}", "prompt.format: .*holds the mark"),
        ("{templat: x}", "unknown key; did you mean template"),
    ],
)
def test_faults_name_the_key_the_file_and_the_line(folder, prompt, said):
    (folder / "bad.jinja").write_text("\n{{ question }}\n{{ x }}")
    (folder / "half.txt").write_bytes(b"\xff\xfe")
    (folder / "r.yaml").write_text(f"prompt: {prompt}\n")
    with pytest.raises(RecipeError, match=said):
        load_recipe(folder / "r.yaml")


def test_a_template_is_told_by_its_text(folder):
    old = load_recipe(folder / "r.yaml")
    (folder / "ask.jinja").rename(folder / "moved.j2")
    moved = load_recipe(None, sets=["prompt.template=at/moved.j2"])
    assert old.prompt.words().version == moved.prompt.words().version
    (folder.parent / "edited.txt").write_text(ASK.replace("Say", "Tell"))
    for kind in ("probe", "train", "eval", "infer"):
        assert tells_apart(kind, old, moved) == []
        edited = load_recipe(None, sets=["prompt.template=edited.txt"])
        assert tells_apart(kind, old, edited) == ["prompt.template.all: line 2: 'Say {{ format }}' -> 'Tell {{ format }}'"]


def test_a_cleared_system_text_makes_another_run():
    none = load_recipe(None, sets=["prompt.system=''"])
    assert none.prompt.words().system == "" and none.prompt.words().version != "2"
    assert tells_apart("eval", Recipe(), none) == ["prompt.system: None -> ''"]
