"""The questions are checked against a second reading of the script, written apart from the code that asks."""

from collections import Counter
from random import Random

import pytest

from trlt.lab.miniature.facts import ANSWER_KINDS, FIVE_OPTION_KINDS, GROUNDED_KINDS, QUERY_KINDS
from trlt.lab.miniature.questions import ask, ask_several, reasoning
from trlt.lab.miniature.script import make_scene
from trlt.lab.miniature.world import COLOURS

SCENES = [make_scene(seed, domain) for seed in range(120) for domain in ("train", "shifted")]
SCENES += [make_scene(seed, "train", long=True) for seed in range(60)]
NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
WORDS = {"nowhere": "still", "stays still": "still"}


def all_questions(task, kinds, options=5):
    for number, scene in enumerate(SCENES):
        for kind in kinds:
            question = ask(scene, Random(f"{number}{kind}"), task, kind, options=options)
            if question:
                yield scene, question


def fits(show, name):
    """Whether a noun phrase can be said of a show at some time."""
    *colour, kind = name.split()
    return kind in (show.kind, "shape") and (not colour or colour[0] in show.colours)


def named(scene, name):
    (show,) = [s for s in scene.shows if fits(s, name)]
    return show


def after(text, *starts):
    """What follows the first of the given phrases that stands in the text."""
    return next(text.split(s, 1)[1] for s in starts if s in text)


def right(scene, question):
    """Every option that is right, by a reading of the question's words."""
    text, shows = question.text, scene.shows

    def ordinal(show):
        return [o for o in question.options if o == f"{show.colour} {show.kind}"]

    if text.endswith("first"):
        return ordinal(min(shows, key=lambda s: s.start))
    if text.endswith("second"):
        return ordinal(sorted(shows, key=lambda s: s.start)[1])
    if text.endswith("last"):
        return ordinal(max(shows, key=lambda s: s.start))
    if "right after the " in text:
        base = named(scene, after(text, "right after the "))
        return ordinal(min((s for s in shows if s.start > base.start), key=lambda s: s.start))
    if "right before the " in text:
        base = named(scene, after(text, "right before the "))
        return ordinal(max((s for s in shows if s.start < base.start), key=lambda s: s.start))
    if text.startswith("how many"):
        count = sum(s.motion != "still" or "mov" not in text for s in shows)
        return [o for o in question.options if NUMBERS[o] == count]
    if "colour is the shape that" in text:
        motion = text.split()[-1]
        return [o for s in shows if s.motion == motion for o in question.options if o in s.colours]
    if "colour" in text and "turn" in text:
        (show,) = [s for s in shows if s.turns_to and s.kind in text.split()]
        return [o for o in question.options if o == show.turns_to]
    if "colour" in text:
        return [o for s in shows if s.kind in text.split() for o in question.options if o in s.colours]
    if text.startswith(("what is the ", "which shape is ")):
        colour = next(c for c in COLOURS if c in text.split())
        return [o for s in shows if colour in s.colours for o in question.options if o == s.kind]
    if "move" in text or text.startswith("what does"):
        show = named(scene, after(text, "does the ").removesuffix(" move").removesuffix(" do"))
        return [o for o in question.options if WORDS.get(o, o.split()[-1]) == show.motion]
    if text.startswith("when"):
        name = after(text, "when is the ", "when can the ").removesuffix(" shown").removesuffix(" be seen")
        show = named(scene, name)
        middle = (show.start + show.end) / 2 / scene.duration
        if show.start == 0 and show.end == scene.duration:
            return ["all the time"]
        return ["at the beginning" if middle < 0.39 else "at the end" if middle > 0.61 else "in the middle"]
    if text.startswith(("is there a ", "does a ")):
        name = after(text, "is there a ", "does a ").removesuffix(" appear")
        return ["yes" if any(fits(s, name) for s in shows) else "no"]
    raise AssertionError(text)


@pytest.mark.parametrize("options", [3, 4, 5])
def test_exactly_the_gold_option_is_right(options):
    kinds = Counter()
    for scene, question in all_questions("multi_choice", ANSWER_KINDS, options):
        assert 2 <= len(set(question.options)) == len(question.options) <= options
        assert right(scene, question) == [question.answer], (scene.shows, question)
        assert question.spans is None
        kinds[question.kind] += 1
        if question.kind in FIVE_OPTION_KINDS:
            assert len(question.options) == options
    assert set(kinds) == set(ANSWER_KINDS) and min(kinds.values()) >= 40


def test_queries_have_the_span_that_the_script_says():
    seen = Counter()
    for scene, question in all_questions("grounding", QUERY_KINDS):
        text = question.text
        (span,) = question.spans
        seen[question.kind] += 1
        if question.kind == "moves":
            name, motion = text.rsplit(" ", 2)[0].split(" ", 1)[1], text.split()[-1]
            (show,) = [s for s in scene.shows if fits(s, name) and s.motion == motion]
            assert span == (show.start, show.end)
        elif question.kind == "shown":
            name = text.split(" ", 1)[1]
            for end in (" is shown", " is visible", " can be seen"):
                name = name.removesuffix(end)
            show = named(scene, name)
            assert span == (show.start, show.end)
        else:
            (show,) = [s for s in scene.shows if s.kind in text.split()]
            whole = (show.start, show.end)
            if question.kind == "turns":
                assert span == whole and text.endswith(show.turns_to)
            else:
                first = text.endswith(show.colour)
                assert span == ((show.start, show.turns_at) if first else (show.turns_at, show.end))
        assert question.options is question.answer is None
    assert min(seen[k] for k in QUERY_KINDS) > 40


def test_evidence_lies_on_shows():
    several = 0
    for scene, question in all_questions("grounded_qa", GROUNDED_KINDS):
        assert right(scene, question) == [question.answer]
        assert set(question.spans) <= {s.span for s in scene.shows}
        several += len(question.spans) > 1
        if question.kind != "count_moving":
            assert len(question.spans) == 1
    assert several > 20


def test_gold_positions_are_spread_evenly():
    places = Counter(q.answer_index for _, q in all_questions("multi_choice", FIVE_OPTION_KINDS))
    share = [places[i] / places.total() for i in range(5)]
    assert min(share) > 0.17 and max(share) < 0.23


def test_yes_and_no_are_as_likely():
    answers = Counter(q.answer for _, q in all_questions("multi_choice", ["exists"]))
    assert set(answers) == {"yes", "no"} and 0.4 < answers["yes"] / answers.total() < 0.6


def test_questions_about_one_clip_differ_and_are_the_same_each_time():
    for scene in SCENES[:40]:
        for task in ("grounding", "multi_choice", "grounded_qa"):
            found = ask_several(scene, Random(1), task, 4)
            assert 3 <= len({q.text for q in found}) == len(found) <= 4
            assert found == ask_several(scene, Random(1), task, 4)


def test_what_can_not_be_asked_is_none():
    scene = next(s for s in SCENES if not any(show.turns_to for show in s.shows))
    assert ask(scene, Random(0), "multi_choice", "turn") is None


def test_the_language_is_small():
    words = {w for _, q in all_questions("multi_choice", ANSWER_KINDS) for t in (q.text, *q.options) for w in t.split()}
    words |= {w for _, q in all_questions("grounding", QUERY_KINDS) for w in q.text.split()}
    assert len(words) < 90


def test_reasoning_lists_every_show_in_order_with_times():
    for scene in SCENES:
        text = reasoning(scene)
        assert len(text.split()) <= 12 * len(scene.shows)
        parts = text.removesuffix(" .").split(" . ")
        assert [p.split()[:5] for p in parts] == [
            [s.colour, s.kind, f"{s.start:.1f}", "to", f"{s.end:.1f}"] for s in scene.shows
        ]
        for part, show in zip(parts, scene.shows, strict=True):
            assert ("moves" in part) == (show.motion != "still") and ("turns" in part) == bool(show.turns_to)
