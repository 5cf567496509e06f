"""What differs between the own parts of two runs' rewards."""

from __future__ import annotations

from trlt.rollout.changed_parts import changed_parts


def part(name="near", weight=1.0, file="/a/r.py", **files):
    return {"name": name, "weight": weight, "file": file, "files": files or {"r.py": "1"}}


def test_where_a_file_is_makes_no_difference():
    assert changed_parts([part()], [part(file="/b/r.py")]) == [] == changed_parts([], [])
    assert changed_parts([part()], [part(file="/b/q.py", **{"q.py": "1"})]) == []


def test_each_difference_in_words():
    assert changed_parts([part()], [part(**{"r.py": "2"})]) == ["reward part near: r.py changed"]
    assert changed_parts([part()], [part(**{"q.py": "2"})]) == ["reward part near: r.py -> q.py"]
    assert changed_parts([part(weight=1.0)], [part(weight=0.5)]) == ["reward part near: weight 1.0 -> 0.5"]
    assert changed_parts([part()], []) == ["reward part near: is gone"]
    assert changed_parts([], [part()]) == ["reward part near: is new"]
    old, new = part(**{"r.py": "1", "h.py": "1", "g.py": "1"}), part(**{"r.py": "1", "h.py": "2", "g.py": "1"})
    assert changed_parts([old], [new]) == ["reward part near: h.py changed, which r.py imports"]
    assert changed_parts([part("a"), part("b")], [part("b"), part("a")]) == ["reward parts: their order, a, b -> b, a"]
