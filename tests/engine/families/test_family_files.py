"""What a family's folder says, saved and loaded again: same prompts, same outputs, and marks around a video by a key."""

from __future__ import annotations

import json
import shutil

import by_library as library
import pytest
import torch

from trlt.engine.families import FAMILIES
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.inputs import InputBuilder
from trlt.engine.model import load, save
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, attach, collate
from trlt.errors import ModelError
from trlt.recipe import Model

BARE = [family for family in FAMILIES if family.placeholder == "<|video_pad|>"]
NAMED = {"ids": lambda family: family.name}
MARKED = "<|vision_start|><|video_pad|><|vision_end|>"
FILE = library.File(6, 2, 2, rate=25, step=9, first=2, seed=6)


def at(folder):
    return load(Model(path=str(folder), dtype="float32", device="cpu"))


def said(family, loaded):
    """(ids, log-probabilities) of a prompt and a completion."""
    attach(loaded.model)
    builder = InputBuilder(loaded.model, loaded.processor)
    clip = builder.clip(FILE.clip(family))
    prompt = builder.prompt("sys", "which first?", clip)
    with torch.no_grad():
        logps = loaded.model(tree=collate([Group(clip, prompt, (tuple(range(30, 42)),))])).logps
    return [*prompt.prefix.tolist(), *prompt.suffix.tolist()], logps


def marked(family_path, family, folder):
    """A copy whose config.json says that its weights were tuned with marks around a video."""
    shutil.copytree(family_path(family), folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"video_marks": "outer"}))
    return folder


def test_what_is_saved_and_loaded_says_the_same(family, loaded, tmp_path):
    before, logps = said(family, loaded)
    save(loaded.model, loaded.processor, tmp_path / "again")
    again = at(tmp_path / "again")
    assert type(again.model) is type(loaded.model) and again.model.config.model_type in family.model_types
    after, others = said(family, again)
    assert after == before and torch.equal(others, logps)


@pytest.mark.parametrize("family", BARE, **NAMED)
def test_tuned_weights_are_saved_with_the_template_that_they_were_tuned_by(family, family_path, tmp_path):
    """So that programs which know nothing of trlt make the published prompt."""
    from transformers import AutoProcessor

    published = (family_path(family) / "chat_template.jinja").read_text(encoding="utf-8")
    assert MARKED in published, "as published"
    loaded = at(family_path(family))
    save(loaded.model, loaded.processor, tmp_path / "tuned")
    assert (tmp_path / "tuned" / "chat_template.jinja").read_text(encoding="utf-8") == published.replace(
        MARKED, "<|video_pad|>"
    )
    anyone = AutoProcessor.from_pretrained(tmp_path / "tuned")
    theirs = library.inputs(anyone, FILE, FILE.clip(family), "sys", "which first?")["input_ids"][0].tolist()
    assert theirs == said(family, loaded)[0]


@pytest.mark.parametrize("family", BARE, **NAMED)
def test_the_library_keeps_marks_around_a_whole_video(family, family_path):
    """Since 5.10, where a template writes them. When it takes all three for the video again, as in 4.57 to 5.9, or writes other
    times or marks, what docs/decisions/outer-marks.md says has to be looked at again."""
    from transformers import AutoProcessor

    published = AutoProcessor.from_pretrained(family_path(family))
    assert MARKED in published.chat_template
    theirs = library.inputs(published, FILE, FILE.clip(family), "sys", "which first?")["input_ids"][0].tolist()
    ours, _ = said(family, at(family_path(family)))
    start, video, end = published.tokenizer.convert_tokens_to_ids(["<|vision_start|>", "<|video_pad|>", "<|vision_end|>"])
    first = theirs.index(start)
    last = len(theirs) - 1 - theirs[::-1].index(end)
    assert theirs[:first] + theirs[first + 1 : last] + theirs[last + 1 :] == ours
    # By hand: times of frames 2 and 11, 20 and 29, 38 and 47 at 25 a second, and four tokens a pair.
    shown = published.tokenizer.decode(theirs[first : last + 1]).replace("<|video_pad|>" * 4, "****")
    pairs = "".join(f"<{t} seconds><|vision_start|>****<|vision_end|>" for t in ("0.3", "1.0", "1.7"))
    assert shown == f"<|vision_start|>{pairs}<|vision_end|>" and theirs.count(video) == 12


@pytest.mark.parametrize("family", BARE, **NAMED)
def test_weights_that_were_tuned_with_marks_around_a_video_keep_them(family, family_path, tmp_path):
    from transformers import AutoProcessor

    folder = marked(family_path, family, tmp_path / "marked")
    loaded = at(folder)
    ids, logps = said(family, loaded)
    theirs = library.inputs(AutoProcessor.from_pretrained(folder), FILE, FILE.clip(family), "sys", "which first?")
    assert ids == theirs["input_ids"][0].tolist()
    with torch.no_grad():
        assert (logps[0] - library.logps(loaded.model, theirs, tuple(range(30, 42)))).abs().max() < 5e-5
    plain_ids, plain = said(family, at(family_path(family)))
    assert len(ids) == len(plain_ids) + 2 and (logps - plain).abs().max() > 0.01
    engine = Engine(loaded.model, loaded.processor, compare_first=True)
    engine.generate([Tree(FILE.clip(family), (PromptRequest("k", "sys", "which?"),))], Sampling(max_new_tokens=4))
    assert engine.parity and engine.parity.largest < 1e-4
    save(loaded.model, loaded.processor, tmp_path / "tuned")
    assert said(family, at(tmp_path / "tuned"))[0] == ids, "and what is tuned from them, too"
    question = f"<|vision_end|> {engine.builder.decode([40])}"
    with pytest.raises(ModelError, match="exactly one video"):
        engine.builder.prompt("", question, engine.builder.clip(FILE.clip(family)))


@pytest.mark.parametrize("family", BARE, **NAMED)
def test_a_template_that_isnt_what_config_json_says_is_refused(family, family_path, tmp_path):
    lacking = marked(family_path, family, tmp_path / "lacking")
    template = lacking / "chat_template.jinja"
    text = template.read_text(encoding="utf-8")
    template.write_text(text.replace(MARKED, "<|video_pad|>"), encoding="utf-8")
    with pytest.raises(
        ModelError, match="tuned with <.vision_start.> and <.vision_end.> around a video, and the chat template"
    ):
        at(lacking)
    other = shutil.copytree(family_path(family), tmp_path / "other")
    # In pieces, so that it isn't the text that loading takes out.
    pieces = "<|vision_start|>{{- '<|video_pad|>' }}{{- '<|vision_end|>' }}"
    (other / "chat_template.jinja").write_text(text.replace(f"'{MARKED}' }}}}", f"'' }}}}{pieces}"), encoding="utf-8")
    with pytest.raises(ModelError, match="writes <.vision_start.> or <.vision_end.> once more around <.video_pad.>") as caught:
        at(other)
    assert 'say "video_marks": "outer" in config.json' in str(caught.value)


@pytest.mark.parametrize("family", BARE, **NAMED)
@pytest.mark.parametrize("value", ["inner", True, ""])
def test_the_key_has_one_value(family, family_path, tmp_path, value):
    folder = marked(family_path, family, tmp_path / "marked")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"video_marks": value}))
    with pytest.raises(ModelError, match=r"config.json: video_marks: 'outer' is expected, not .*; take it out"):
        at(folder)
