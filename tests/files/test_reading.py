"""What users and disks put into files: JSON, JSONL and YAML are read within bounds, and only typed errors come out."""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest
import ruamel.yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trlt.errors import DataError, RecipeError, TrltError, shown
from trlt.files import SHOWN, Faults, iter_jsonl, open_atomic, read_log
from trlt.files.bounded_json import MOST_DEPTH, MOST_LINE, Truncated, iter_list, loads, read_object
from trlt.recipe import load_recipe
from trlt.recipe._yaml import MOST_VALUES, from_yaml, to_yaml
from trlt.task.sample import Sample, read_samples

GOOD = {"id": "a", "source": "s", "split": "", "task": "grounding", "video": "v.mp4", "question": "q", "spans": [[0.5, 2]]}


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 400_000, "64 deep"),
        (nested(MOST_DEPTH + 2), "64 deep"),
        ('{"a":' * 900 + "1" + "}" * 900, "64 deep"),
        ("1" * 5_000, "a number of 5,000 digits"),
        ("-" + "1" * 21, "a number of 21 digits"),
        (str(int(1e30) + 1), "a number of 31 digits"),
        ("1e999", "too large for a number"),
        ("[NaN]", "NaN is no number"),
        ("-Infinity", "-Infinity is no number"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', "'b' stands twice"),
        ('{"é": 1}'.encode("latin-1"), "byte 2 is 0xe9"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16, not UTF-8"),
        (b"\0\0", "Expecting value"),
        ("", "Expecting value"),
    ],
)
def test_json_out_of_bounds_is_a_value_error(text, said):
    with pytest.raises(ValueError, match=said):
        loads(text)


def test_json_within_bounds_is_as_the_library_reads_it():
    for text in (nested(MOST_DEPTH), '{"a": [1, -2.5e3, "\\ud800", null, true]}', "12345678901234567890"):
        assert loads(text) == loads(text.encode()) == json.loads(text)
    assert loads(b"\xef\xbb\xbf[1]") == loads("\ufeff[1]") == [1]
    assert loads("[Infinity, 1e999]", finite=False) == [float("inf")] * 2
    half = json.dumps("\ud800", ensure_ascii=False).encode("utf-8", "surrogatepass")  # as rows were written once
    assert loads(half) == "\ud800"


def test_deep_nesting_takes_no_memory():
    tracemalloc.start()
    for _ in range(3):
        with pytest.raises(ValueError):
            loads("[" * 400_000)
        with pytest.raises(RecipeError):
            from_yaml("- " * 4_000, "x")
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


def test_a_value_in_a_message_is_short():
    assert shown("x" * 10_000_000) == "'" + "x" * 87 + "…" + "x" * 9 + "'"
    assert shown([1] * 100_000) == "[" + "1, " * 29 + "…, 1, 1, 1]"
    assert shown("it's") == '"it\'s"' and shown(None) == "None"


def test_an_object_is_asked_for(tmp_path):
    path = tmp_path / "m.json"
    for text, said in (("[1]", "expected a JSON object, got list"), ("{", "not JSON"), (None, "No such file")):
        path.unlink(missing_ok=True) if text is None else path.write_text(text)
        with pytest.raises(DataError, match=rf"m\.json: .*{said}.*; make it anew"):
            read_object(path, remedy="make it anew")
    with pytest.raises(DataError, match="Is a directory"):
        read_object(tmp_path, remedy="make it anew")


def test_every_bad_line_is_told(tmp_path):
    path = tmp_path / "s.jsonl"
    bad = {2: "{", 4: json.dumps({**GOOD, "id": "b", "spans": [[2, 1]]}), 5: json.dumps(GOOD), 7: "[]"}
    lines = [bad.get(number, json.dumps({**GOOD, "id": f"id{number}" if number > 1 else "a"})) for number in range(1, 9)]
    path.write_text("\n".join(lines))
    with pytest.raises(DataError) as error:
        read_samples(path)
    told = str(error.value).splitlines()
    assert [one.partition(": ")[0] for one in told] == [f"{path}:{number}" for number in bad]
    assert "not JSON" in told[0] and "spans: [2.0, 1.0]" in told[1] and "stands already on line 1" in told[2]
    assert "a JSON list" in told[3]


def test_of_many_bad_lines_the_first_are_told_and_the_others_counted(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text("1\n" + "x\n" * 53)
    with pytest.raises(DataError) as error:
        list(iter_jsonl(path))
    told = str(error.value).splitlines()
    assert len(told) == SHOWN + 1 and told[0].startswith(f"{path}:2: ") and told[-1] == f"… and {53 - SHOWN} more lines"


def test_a_file_of_another_kind_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(b"\xff junk\n" * 2_000)
    with pytest.raises(DataError) as error:
        read_samples(path)
    told = str(error.value).splitlines()
    assert len(told) == SHOWN + 1 and "is it the right file?" in told[-1] and "more lines" not in str(error.value)


def test_folders_of_samples_tell_the_lines_of_all_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({**GOOD, "id": name}) + "\n{\n")
    with pytest.raises(DataError) as error:
        read_samples(tmp_path)
    assert [one.partition(": ")[0] for one in str(error.value).splitlines()] == [f"{tmp_path}/{n}.jsonl:2" for n in "ab"]


def test_an_endless_line_is_one_fault(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b'"' + b"x" * MOST_LINE + b'"\n1\n')
    with pytest.raises(DataError, match=r"s\.jsonl:1: a line of more than 16 MB") as error:
        list(iter_jsonl(path))
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)
    kept = []
    with pytest.raises(DataError):
        kept += [value for value in iter_jsonl(path)]
    assert not kept


def test_faults_without_a_fault_raise_nothing():
    Faults().end("more")


def test_logs_pass_over_what_is_no_object(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n[1]\n{"step": \n\xff\n' + b"[" * 100_000 + b'\n{"step": 2}\n{"st')
    assert read_log(path) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("spans", ["12"], "spans"),  # two characters are no two numbers
        ("spans", [["0", "1"]], "spans"),
        ("spans", [[False, True]], "spans"),
        ("spans", [{"1": 0, "2": 0}], "spans"),
        ("clip", "01", "clip"),
        ("duration", True, "duration"),
        ("question", 5, "question: expected a string, got 5"),
        ("answer", 5, "answer: 5 must be a text"),
        ("x" * 1_000_000, 1, "unknown field"),
        ("video", "/" + "x" * 10_000_000, "path inside the video root"),
    ],
)
def test_samples_take_no_other_types(key, value, said):
    task = "grounded_qa" if key == "answer" else "grounding"
    with pytest.raises(DataError, match=said) as error:
        Sample.from_json({**GOOD, "task": task, key: value}, "f:1")
    assert str(error.value).startswith("f:1: ") and len(str(error.value)) < 400


def test_half_a_surrogate_pair_is_written_as_json_escapes_it(tmp_path):
    with open_atomic(tmp_path / "x.json") as file:
        file.write(json.dumps({"a": "é\ud800"}, ensure_ascii=False))
    assert (tmp_path / "x.json").read_bytes() == '{"a": "é\\ud800"}'.encode()
    assert loads((tmp_path / "x.json").read_bytes()) == {"a": "é\ud800"}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "line 1: .* 32 deep"),
        (BOMB, rf"line 5: stands for more than {MOST_VALUES:,} values"),
        ("a: &a [*a]", "line 1: an alias stands inside"),
        ("\na: !!python/object/apply:os.system [x]", "line 2: 'python/object/apply:os.system' is no kind"),
        ("a: !!int abc", "'abc': is no int"),
        ("a: !!float x", "'x': is no float"),
        ("a: !!bool maybe", "'maybe': is no bool"),
        ("a: !!timestamp x", "'timestamp' is no kind"),
        ("a: !!map [b]", "a seq is no map"),
        ("a: !!seq b", r"found scalar \(line 1, column 4\)"),
        ("a: !!null x", "'x': is no null"),
        ("a: " + "1" * 5_000, "too many digits"),
        ('a: "\\ud800"', "half a surrogate pair"),
        ('a: "\\U00110000"', "an escape .* that is no character"),
        ('a: "\\UFFFFFFFF"', "an escape .* that is no character"),
        ("a: 1\na: 2", r"a stands twice \(line 2, column 1\)"),
        ("a: &a {b: 1}\nc: {<<: *a, d: 1, d: 2}", r"d stands twice \(line 2, column 19\)"),
        ("a:\n\tb: 1", r"cannot start any token \(line 2, column 1\)"),
        ("? [a]\n: 1", "a key is a word"),
        ("a: \0", "special characters"),
        ("a" * (2 << 20), "characters"),
        ("a: {b: 1", "not YAML"),
    ],
)
def test_yaml_out_of_bounds_is_a_recipe_error(text, said):
    with pytest.raises(RecipeError, match=said) as error:
        from_yaml(text, "r.yaml")
    assert str(error.value).startswith("r.yaml: ") and len(str(error.value)) < 700


def test_yaml_traps_of_version_1_1():
    text = "a: 1e-6\nb: no\nc: 1:30\nd: 0x10\ne: 007\nf: =\ng: 2020-01-01\nh: !!str 1\ni: 1_000\n"
    values = {"a": 1e-6, "b": "no", "c": "1:30", "d": "0x10", "e": "007", "f": "=", "g": "2020-01-01", "h": "1", "i": 1000}
    assert from_yaml(text, "x") == values
    assert from_yaml("x: &x {p: 1}\ny: *x\nz: {<<: *x, q: 2}", "x") == {"x": {"p": 1}, "y": {"p": 1}, "z": {"p": 1, "q": 2}}


def test_a_head_line_changes_no_values_and_the_last_anchor_of_a_name_counts():
    assert from_yaml("%YAML 1.1\n---\na: 1e-6\nb: no\nc: 1:30", "x") == {"a": 1e-6, "b": "no", "c": "1:30"}
    assert from_yaml("a: &x 1\nb: *x\nc: &x 2\nd: *x", "x") == {"a": 1, "b": 1, "c": 2, "d": 2}


ODD_TEXTS = (
    *("", "~", "null", "no", "On", "TRUE", "=", "<<", "1e-6", "1E3", "1_000", "+1", "-.INF", ".NaN", "0.", "._1"),
    *("017", "0o17", "0x1F", "0b1", "08", "12:30:00", "1:30.5", "2020-01-01", "2020-01-01 10:00:00", "- a", "a: b", "a #b"),
    *("?", "-", "@a", "%a", "&a", "*a", "!a", "'", '"', "a\nb", " a", "a ", "\ta", "\x85a", "a\u2028b", "\ufeff", "é", "😀"),
    *("a\r\nb", "--- a", "...", "word " * 60, "a\tb " * 30),
)


def test_every_reader_reads_what_is_written():
    values = {f"k{n}": [text, {text: text}] for n, text in enumerate(ODD_TEXTS)}
    values |= {"floats": [1e-6, 1e17, 1.5, -0.0, float("inf")], "others": [1, 10**18, True, None, {}, []]}
    text = to_yaml(values)
    assert list(from_yaml(text, "x")) == list(values) and from_yaml(text, "x") == values
    for version in ("1.1", "1.2"):
        reader = ruamel.yaml.YAML(typ="safe", pure=True)
        reader.version = version
        assert reader.load(text) == values
    assert to_yaml({"n": 8}) == "n: 8\n"
    assert pytest.importorskip("yaml").safe_load(text) == values, "the usual reader of YAML 1.1"


def test_recipes_of_other_encodings_and_kinds(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes("name: é".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"r\.yaml: isn't UTF-8 text \(byte 6\); save it as UTF-8"):
        load_recipe(path)
    path.write_bytes(b"\xef\xbb\xbfname: x\n")
    assert load_recipe(path).name == "x"
    path.write_text("train: {lora: {r: 8}}")
    with pytest.raises(RecipeError, match=r"train\.lora\.r: unknown key; choose one of: alpha, "):
        load_recipe(path)
    path.write_text("name: " + "a" * 300)
    with pytest.raises(RecipeError, match="at most 100 characters") as error:
        load_recipe(path)
    assert len(str(error.value)) < 300
    with pytest.raises(RecipeError, match="r.yaml/x: no such file"):
        load_recipe(path / "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from([*Sample.__dataclass_fields__, "other"])
CHANGED = st.dictionaries(FIELDS, JSON, max_size=4).map(lambda new: {**GOOD, **new})
LINES = st.lists(CHANGED.map(json.dumps) | JSON.map(json.dumps) | st.text(max_size=20), max_size=4)


@settings(max_examples=150, deadline=None)
@given(LINES, st.binary(max_size=3), st.integers(0))
@example(["[" * 5_000], b"", 0)
def test_any_file_of_samples_is_read_or_refused(tmp_path_factory, lines, junk, place):
    path = tmp_path_factory.mktemp("fuzz") / "s.jsonl"
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    at = place % (len(data) + 1)
    path.write_bytes(data[:at] + junk + data[at:])
    try:
        assert all(isinstance(sample, Sample) for sample in read_samples(path))
    except DataError as error:
        assert str(path) in str(error)


WORDS = "train eval model name: beta: seed [ ] { } - , : & * ! !!int 1e999 .nan 'x' \" # | > ? << \n  \t".split(" ")
TEXT = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=30)


@settings(max_examples=150, deadline=None)
@given(TEXT, st.dictionaries(st.text(max_size=6), JSON, max_size=2))
def test_any_recipe_is_read_or_refused(tmp_path_factory, text, values):
    path = tmp_path_factory.mktemp("fuzz") / "r.yaml"
    for written in (text, json.dumps({"train": values}), json.dumps(values)):
        path.write_bytes(written.encode("utf-8", "surrogatepass"))
        try:
            load_recipe(path)
        except TrltError as error:
            assert str(path) in str(error)


def test_a_binary_file_is_named_once(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\x00\x00\x00\x20ftypisom\n" + bytes(range(256)) * 20)
    with pytest.raises(DataError) as error:
        list(iter_jsonl(path))
    assert str(error.value) == f"{path}: a binary file (its first line holds zero bytes); give the path of a JSONL file"


def test_a_text_of_another_kind_is_asked_about(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# Videos\n\nSome text.\n")
    with pytest.raises(
        DataError, match=r"README.md:3: not JSON .*\n.*README.md: none of its lines can be used; is it the right"
    ):
        list(iter_jsonl(path))


RECORDS = [1, 12.5, "aé😀 \\u", {"a": [1, 2, {"b": None}]}, True, [], {}, -3e5, "\\", 0]


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
def test_lists_are_read_in_blocks(block, monkeypatch):
    monkeypatch.setattr("trlt.files.bounded_json.BLOCK", block)
    data = json.dumps(RECORDS, ensure_ascii=False, indent=1).encode()
    assert list(iter_list(io.BytesIO(data))) == RECORDS and list(iter_list(io.BytesIO(b" [ ] "))) == []
    for cut in range(len(data)):
        before = []
        with pytest.raises(ValueError):
            before += iter_list(io.BytesIO(data[:cut]))
        assert before[:-1] == RECORDS[: len(before)][:-1]  # a number that is cut off is another number


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, " + "[" * 50_000, "64 deep"),
        ("[" + nested(MOST_DEPTH + 2) + "]", "64 deep"),
        ("[1] 2", "something stands behind"),
        ("[1 2]", "a comma"),
        ("{}", "no list"),
        ("[" + "1" * 5_000 + "]", "5,000 digits"),
        ('["' + "x" * (MOST_LINE + 100) + "", "more than 16 MB"),
        (b'["\xff"]', "not UTF-8"),
        ('[{"a": 1}, {a: 2}]', "property name"),
    ],
)
def test_lists_have_bounds(text, said):
    with pytest.raises(ValueError, match=said) as error:
        list(iter_list(io.BytesIO(text if isinstance(text, bytes) else text.encode())))
    assert not isinstance(error.value, Truncated)
