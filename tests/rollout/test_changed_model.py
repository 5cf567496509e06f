"""What is said when a run's folder is another model's: names, and no checksums."""

from __future__ import annotations

import pytest

from trlt.rollout.changed_model import changed_model

FILES = {"tokenizer.json": "a1", "chat_template.jinja": "b2"}
SMALL = {"name": "Qwen2.5-VL-3B", "sha256": "0f" * 32, "files": FILES}


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (SMALL, []),
        (SMALL | {"name": "moved"}, []),
        ({"name": "Qwen2.5-VL-7B", "sha256": "1e" * 32, "files": {}}, ["model: Qwen2.5-VL-3B -> Qwen2.5-VL-7B"]),
        (SMALL | {"sha256": "1e" * 32}, ["model: the weights or the config.json of Qwen2.5-VL-3B changed"]),
        (
            SMALL | {"files": {"tokenizer.json": "a2", "processor_config.json": "c"}},
            [
                "model: chat_template.jinja of Qwen2.5-VL-3B is gone",
                "model: processor_config.json of Qwen2.5-VL-3B is new",
                "model: tokenizer.json of Qwen2.5-VL-3B changed",
            ],
        ),
        (SMALL | {"adapter": "2d" * 32}, ["model: Qwen2.5-VL-3B -> Qwen2.5-VL-3B (an adapter)"]),
        ({"hub": "Qwen/Qwen2.5-VL-3B", "revision": "abc"}, ["model: Qwen2.5-VL-3B -> Qwen/Qwen2.5-VL-3B"]),
        ({"served": "qwen"}, ["model: Qwen2.5-VL-3B -> qwen at a server"]),
        ({"predictions": "3c" * 32}, ["model: Qwen2.5-VL-3B -> given predictions"]),
    ],
)
def test_a_change_is_told_in_names(new, told):
    assert changed_model(SMALL, new) == told


def test_other_kinds_of_the_same_name():
    assert changed_model({"predictions": "a"}, {"predictions": "b"}) == ["model: the predictions changed"]
    hub = {"hub": "org/m", "revision": "a"}
    assert changed_model(hub, hub | {"revision": "b"}) == ["model: the revision of org/m on the hub changed"]
    adapted = SMALL | {"adapter": "a"}
    assert changed_model(adapted, adapted | {"adapter": "b"}) == [
        "model: the weights or the settings of Qwen2.5-VL-3B (an adapter) changed"
    ]


def test_an_earlier_manifest_without_files_is_no_other_model():
    assert changed_model({"name": "m", "sha256": "a"}, {"name": "m", "sha256": "a", "files": FILES}) == []
