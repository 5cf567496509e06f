"""The code on a model's card, run as its reader would, gives the log-probabilities of trlt's own engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import by_library as library
import pytest
import torch
from PIL import Image

from trlt.engine.families import FAMILIES
from trlt.engine.inputs import InputBuilder
from trlt.engine.model import draw_as, load, save
from trlt.engine.shared_prefix import Group, attach, collate
from trlt.recipe import Model, Recipe, load_recipe
from trlt.report.model_card import model_card, write_card
from trlt.report.model_usage import EVENT, snippet
from trlt.task.prompt import build
from trlt.task.user_question import question_sample

FPS = 0.13
"""Frames a second: 15.4 s a temporal patch, so that the clip is longer than its text, and not by whole seconds."""
GENERATE, GREEDY = "model.generate(**inputs)", "do_sample=False, output_logits=True, return_dict_in_generate=True"
TAIL = """
assert "trlt" not in sys.modules
tokens = completion.tolist()
logps = [step[0].log_softmax(-1)[token].item() for step, token in zip(found.logits, tokens)]
drawn = {key: getattr(model.generation_config, key) for key in ("do_sample", "temperature", "top_p", "top_k")}
told = {"video_metadata": [times] * 2} if "times" in globals() else {}
two = processor(text=[text.replace("door", "old door by the window"), text], videos=[frames, frames], do_resize=False,
    do_sample_frames=False, padding=True, padding_side="left", return_tensors="pt", **told)
if "fps" in globals():
    two["second_per_grid_ts"] = torch.tensor([2 / fps] * 2)
both = model.generate(**two, do_sample=False, max_new_tokens=8, min_new_tokens=8)[1, -8:].tolist()
print(json.dumps({"tokens": tokens, "logps": logps, "drawn": drawn, "padded": both}))
"""


def run(card: Path, folder: Path, pictures: list[str]) -> dict[str, Any]:
    """Runs a card's code in a fresh process, on pictures, with the completion's logits at hand; gives what it found."""
    [found] = run_all({folder: code_on(card, folder, pictures)}, folder.parent)
    return found


def run_all(codes: dict[Path, str], place: Path) -> list[dict[str, Any]]:
    """Runs several one after another in one process, each by itself."""
    (place / "codes.json").write_text(json.dumps([*codes.values()]), encoding="utf-8")
    script = place / "use.py"
    script.write_text('import json\nfor code in json.load(open("codes.json")): exec(code, {})\n', encoding="utf-8")
    made = subprocess.run([sys.executable, "-W", "ignore", script], capture_output=True, text=True, cwd=place)
    assert made.returncode == 0, made.stderr
    return [json.loads(line) for line in made.stdout.splitlines() if line.startswith('{"tokens"')]


def code_on(card: Path, folder: Path, pictures: list[str]) -> str:
    """A card's code about pictures, which prints what it found."""
    code = card.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    for before, after in (
        ('"FOLDER"', repr(str(folder))),
        ('"VIDEO.mp4"', repr(pictures)),
        ("budget = {", f'budget = {{"sample_fps": {FPS}, '),
        (
            f"completion = {GENERATE}[0,",
            f"found = {GENERATE[:-1]}, {GREEDY}, max_new_tokens=8, min_new_tokens=8)\ncompletion = found.sequences[0,",
        ),
    ):
        assert code.count(before) == 1, before
        code = code.replace(before, after)
    return "import json, sys\n" + code + TAIL


@pytest.mark.parametrize("rule", ["published", "library"])
@pytest.mark.parametrize("base", ["tiny", pytest.param("3b", marks=pytest.mark.slow)])
def test_a_cards_code_gives_the_engines_log_probabilities(request, noise_clip, tmp_path, base, rule):
    path = request.getfixturevalue("tiny_path") if base == "tiny" else request.getfixturevalue("published")(base, "float32")
    recipe = load_recipe(None, sets=["eval.temperature=0.7", "eval.top_p=0.9", "train.think=false"])
    loaded = load(Model(path=str(path), dtype="float32", device="cpu"))
    if rule == "library":
        loaded.model.config.text_after_video = "library"
    draw_as(loaded.model, loaded.processor, recipe.eval)
    folder = tmp_path / "model"
    save(loaded.model, loaded.processor, folder)
    write_card(folder, model_card(recipe, {}, {}, FAMILIES[0], library_positions=rule == "library"))
    clip = noise_clip(frames=8, fps=FPS)
    pictures = [str(tmp_path / f"{i}.png") for i in range(8)]
    for frame, name in zip(clip.frames, pictures, strict=True):
        Image.fromarray(frame.transpose(1, 2, 0)).save(name)

    found = run(folder / "README.md", folder, pictures)

    again = load(Model(path=str(folder), dtype="float32", device="cpu"))
    attach(again.model)
    builder = InputBuilder(again.model, again.processor)
    words = build(question_sample("v", EVENT, "grounding", ()), think=False, answer_format=recipe.train.answer_format)
    inputs = builder.clip(clip)
    prompt = builder.prompt(words.system, words.user, inputs)
    last = int(prompt.positions[0, len(prompt.prefix) - 2])
    assert (int(prompt.positions[0, -1]) > last) is (rule == "published"), "the rules differ on this clip"
    with torch.no_grad():
        ours = again.model(tree=collate([Group(inputs, prompt, (tuple(found["tokens"]),))])).logps[0].tolist()
    assert found["logps"] == pytest.approx(ours, abs=1e-4)
    assert found["padded"] == found["tokens"], "beside a longer prompt"
    assert found["drawn"] == {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 0}


def test_the_code_of_other_families_does(family_path, tmp_path):
    recipe = load_recipe(None, sets=["eval.temperature=0.7", "eval.top_p=0.9", "train.think=false"])
    words = build(question_sample("v", EVENT, "grounding", ()), think=False, answer_format=recipe.train.answer_format)
    codes, built = {}, []
    for family in FAMILIES[1:]:
        loaded = load(Model(path=str(family_path(family)), dtype="float32", device="cpu"))
        draw_as(loaded.model, loaded.processor, recipe.eval)
        folder = tmp_path / family.name
        save(loaded.model, loaded.processor, folder)
        write_card(folder, model_card(recipe, {}, {}, family))
        clip = library.File(8, 2, 2, rate=FPS, step=1).clip(family)
        pictures = [str(tmp_path / f"{family.name}-{i}.png") for i in range(8)]
        for frame, name in zip(clip.frames, pictures, strict=True):
            Image.fromarray(frame.transpose(1, 2, 0)).save(name)
        codes[folder] = code_on(folder / "README.md", folder, pictures)
        attach(loaded.model)
        built.append((family, loaded, clip))
    for found, (family, loaded, clip) in zip(run_all(codes, tmp_path), built, strict=True):
        builder = InputBuilder(loaded.model, loaded.processor)
        inputs = builder.clip(clip)
        prompt = builder.prompt(words.system, words.user, inputs, think=False)
        with torch.no_grad():
            ours = loaded.model(tree=collate([Group(inputs, prompt, (tuple(found["tokens"]),))])).logps[0].tolist()
        assert found["logps"] == pytest.approx(ours, abs=1e-4), family.name
        assert found["padded"] == found["tokens"], "beside a longer prompt"


def test_the_library_alone_gives_others(tiny, noise_clip):
    """Else the card's code may go."""
    from transformers import Qwen2_5_VLForConditionalGeneration as Library

    builder = InputBuilder(tiny.model, tiny.processor)
    clip = builder.clip(noise_clip(frames=8, fps=FPS))
    prompt = builder.prompt("", "what is shown", clip)
    ids = torch.cat([prompt.prefix, prompt.suffix])[None]
    theirs, _ = Library(tiny.model.config).model.get_rope_index(
        ids,
        mm_token_type_ids=(ids == tiny.model.config.video_token_id).int() * 2,
        video_grid_thw=clip.grid,
        second_per_grid_ts=torch.tensor([clip.seconds_per_grid]),
    )
    assert not torch.equal(theirs[:, 0], prompt.positions)


def test_a_card_says_which_versions_need_what(tmp_path):
    published, library = (model_card(load_recipe(None), {}, {}, FAMILIES[0], library_positions=rule) for rule in (False, True))
    for card in (published, library):
        assert "transformers 5.2 or newer" in card and "5.3" in card and "pip install transformers" in card
        assert '"total_pixels": 1605632' in card, "2048 tokens of 28 x 28 pixels"
    assert "vLLM and SGLang place the text as\nhere" in published and "text_after_video" not in published
    assert '"text_after_video": "library"' in library


def test_generate_draws_from_the_whole_vocabulary(tiny):
    """As the engine, which knows no top-k; where nothing is said, the library draws of the 50 likeliest."""
    draw_as(tiny.model, tiny.processor, load_recipe(None, sets=["eval.temperature=2.0", "eval.top_p=1.0"]).eval)
    ids = torch.tensor([[5, 6, 7]])
    torch.manual_seed(0)
    drawn = tiny.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, num_return_sequences=200)[:, 3]
    with torch.no_grad():
        ranks = tiny.model(input_ids=ids).logits[0, -1].argsort(descending=True).argsort()[drawn]
    assert (ranks >= 50).float().mean() > 0.3
    assert tiny.model.generation_config.eos_token_id == InputBuilder(tiny.model, tiny.processor).end_tokens


def test_the_code_asks_in_own_words():
    def code(**prompt):
        return snippet(Recipe.model_validate({"prompt": prompt, "train": {"think": False}}), FAMILIES[0])

    asked = code(template="When {{ question }}? {{ format }}", system="Look.", format="[T]{span}[/T] [A]{answer}[/A]")
    assert f'user = "When {EVENT}? [T]start to end[/T]"' in asked and 'system = "Look."' in asked
    choice = code(template={"multi_choice": "{{ question }} {{ letters }} {{ format }}"})
    assert f"user = \"{EVENT} ['A', 'B'] <answer> letter </answer>\"" in choice, "the task that has own words"
    nobody = code(template="{{ question }} {{ meta.kind }} {{ format }}", system="")
    assert 'user = "{{ question }} {{ meta.kind }} {{ format }}"' in nobody, "what only samples have can't be filled in"
    assert "system" not in nobody and 'messages = [\n    {"role": "user"' in nobody
