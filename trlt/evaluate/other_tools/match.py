"""Which question each row of a log belongs to: by an id, by what it quotes, or by its place where the whole file agrees. Pure.

Nothing is guessed. A row that fits several questions, or none, is left out with the reason.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trlt.errors import DataError, counted, shown
from trlt.evaluate.other_tools.rows import LoggedRow, split, unlettered, video_name, words
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample

FEW = 5
"""Rows of a file below which their places say nothing."""
BY_ID, BY_PLACE, ALIKE = "id", "place in the file", "question, of several that are alike"


@dataclass
class Matched:
    """The outputs by question."""

    texts: dict[str, str] = field(default_factory=dict)
    """Id to raw output."""
    how: dict[str, str] = field(default_factory=dict)
    """Id to what its row was found by."""
    left_out: list[str] = field(default_factory=list)
    """Rows without a question, each with its place and the reason."""
    strange_ids: list[str] = field(default_factory=list)
    """Ids of those that have one like a question's, which is none's."""

    def counts(self, ids: Iterable[str]) -> dict[str, int]:
        """How many of some questions' rows were found by what, most first."""
        return dict(Counter(self.how[id] for id in ids if id in self.how).most_common())


def match(rows: Sequence[LoggedRow], samples: Sequence[Sample]) -> Matched:
    """Finds the question of each row.

    Args:
        rows: Of all files.
        samples: The questions, in the order of their benchmarks.

    Raises:
        DataError: two outputs for one question that differ.
    """
    index = _Index(samples)
    found = Matched()
    taken: dict[str, LoggedRow] = {}
    files: dict[Path, list[LoggedRow]] = defaultdict(list)
    for row in rows:
        files[row.file].append(row)
    for mine in files.values():
        for row, sample, how in _unambiguous(_matched_file(mine, index, found), found):
            before = taken.get(sample.id)
            if before is not None and before.text != row.text:
                raise DataError(
                    f"{before.where} and {row.where}: two outputs for the question {shown(sample.id)}; give one run's file"
                )
            taken[sample.id] = row
            found.texts[sample.id], found.how[sample.id] = row.text, how
    return found


def _unambiguous(asked: Sequence[tuple[LoggedRow, Sample, str]], found: Matched) -> Iterator[tuple[LoggedRow, Sample, str]]:
    """The rows of one file without those that say too little to be told from another row with the same question.

    A benchmark may ask one question with and without options: where a row shows neither an id nor options, its text doesn't
    tell which of them it is. Rows that do stay, and two of them are two outputs for a question.
    """
    sure: Counter[str] = Counter()
    unsure: dict[str, set[str]] = defaultdict(set)
    for row, sample, how in asked:
        if _is_sure(row, sample, how):
            sure[sample.id] += 1
        else:
            unsure[sample.id].add(row.text)
    for row, sample, how in asked:
        if _is_sure(row, sample, how) or (not sure[sample.id] and len(unsure[sample.id]) == 1):
            yield row, sample, how
        else:
            found.left_out.append(
                f"{row.where}: another row of the file asks the same question, and this one doesn't say enough (an id, or "
                f"video and options) to be {shown(sample.id)}"
            )


def _is_sure(row: LoggedRow, sample: Sample, how: str) -> bool:
    """Whether a row names its question by all that the question has."""
    return how in (BY_ID, BY_PLACE, ALIKE) or (bool(row.videos) and (sample.options is None or how.endswith("options")))


def _matched_file(rows: Sequence[LoggedRow], index: _Index, found: Matched) -> list[tuple[LoggedRow, Sample, str]]:
    """The rows of one file with their questions; the others go to `found.left_out`."""
    common = index.in_all_prompts(rows)
    asked = [(row, index.candidates(row, common)) for row in rows]
    placed = _by_place(asked, index)
    alike: dict[tuple[str, ...], list[Sample]] = {}
    result = []
    for row, fit in asked:
        if row.fault:
            found.left_out.append(f"{row.where}: {row.fault}")
        elif len(fit.samples) == 1:
            result.append((row, fit.samples[0], fit.how))
        elif not fit.samples:
            found.left_out.append(f"{row.where}: {fit.why}")
            found.strange_ids += [fit.strange_id] if fit.strange_id else []
        elif len({_content(sample) for sample in fit.samples}) == 1:
            # The same video, question and answer, annotated twice: which is which makes no difference.
            rest = alike.setdefault(tuple(sample.id for sample in fit.samples), list(fit.samples))
            if rest:
                result.append((row, rest.pop(0), ALIKE))
            else:
                found.left_out.append(f"{row.where}: one output more than there are questions like it")
        elif row.where in placed:
            result.append((row, placed[row.where], BY_PLACE))
        else:
            some = ", ".join(shown(sample.id) for sample in fit.samples[:3])
            more = f" and {len(fit.samples) - 3:,} more" if len(fit.samples) > 3 else ""
            found.left_out.append(f"{row.where}: fits {counted(len(fit.samples), 'question')}: {some}{more}")
    return result


def _content(sample: Sample) -> tuple[Any, ...]:
    return (sample.video, sample.clip, words(sample.question), sample.options, sample.answer, sample.spans)


def _by_place(asked: Sequence[tuple[LoggedRow, _Fit]], index: _Index) -> dict[str, Sample]:
    """Questions of the rows that fit several, if every row of the file fits the question at its place.

    The place is counted in the benchmark, or in one of its tasks, as the tools' data sets are. Rows that fit no question
    anywhere have none of ours at their place, so a file with such rows is only taken where the others still agree.
    """
    known = [(row, fit) for row, fit in asked if fit.samples and not row.fault]
    told = {tuple(sample.id for sample in fit.samples) for _, fit in known}
    if len(known) < FEW or len(told) < 2 or any(row.place is None for row, _ in known):
        return {}
    for order in index.orders:
        at = {row.where: order[row.place] for row, _ in known if row.place is not None and 0 <= row.place < len(order)}
        if all(at.get(row.where) in fit.samples for row, fit in known):
            return at
    return {}


@dataclass(frozen=True)
class _Fit:
    """The questions that a row fits."""

    samples: list[Sample]
    how: str = ""
    why: str = ""
    """Why there are none."""
    strange_id: str = ""
    """The row's id, where it is like a question's and none's."""


class _Index:
    """The questions by their ids and texts."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.by_id = {sample.id: sample for sample in samples}
        self._forms = {_form(sample.id) for sample in samples}
        self.by_question: dict[str, list[Sample]] = defaultdict(list)
        self._words: dict[str, Any] = {}
        self._names = {sample.id: _names(sample) for sample in samples}
        self._options = {sample.id: [words(text) for text in sample.options or ()] for sample in samples}
        tasks: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            self.by_question[words(sample.question)].append(sample)
            tasks[f"{sample.source}\n{sample.meta.get('task', '')}"].append(sample)
        sources: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            sources[sample.source].append(sample)
        self.orders = [*sources.values(), *tasks.values()]
        for question in self.by_question:
            node = self._words
            for word in question.split():
                node = node.setdefault(word, {})
            node[""] = question

    def candidates(self, row: LoggedRow, common: frozenset[str]) -> _Fit:
        """The questions that a row fits in all that it says."""
        for id in row.ids:
            sample = self.by_id.get(id)
            if sample is not None and self._agrees(row, sample):
                return _Fit([sample], BY_ID)
        if strange := self._strange_id(row):
            return _Fit([], why=f"its id {shown(strange)} is none of the questions'", strange_id=strange)
        head, options = split(row.question or row.prompt)
        options = row.options or options
        if row.question:
            asked = [key for key in (words(row.question), words(head)) if key in self.by_question][:1]
        else:
            asked = sorted(self.quoted(head, common) or self.quoted(row.prompt, common))
        fitting = [sample for key in asked for sample in self.by_question[key]]
        if not fitting:
            quoted = row.question or row.prompt
            if not quoted and row.ids:
                return _Fit([], why=f"its id {shown(row.ids[0])} is none of the questions', and it quotes no question")
            return _Fit(
                [], why=f"asks none of the questions: {shown(quoted)}" if quoted else "holds neither an id nor a question"
            )
        of_video = [sample for sample in fitting if self._is_of_video(row, sample)]
        if not of_video:
            return _Fit([], why=f"its question is one about another video than {shown(row.videos[0])}")
        listed = [words(text) for text in unlettered(options)]
        no_options = row.no_options and not listed
        with_options = [sample for sample in of_video if self._has_options(listed, sample, none=no_options)]
        if not with_options and no_options:
            return _Fit([], why="its question is one with options, and its record has none")
        if not with_options:
            return _Fit([], why=f"its question has other options, or in another order: {shown(list(options))}")
        named = ["video"] * bool(row.videos) + ["question"] + ["options"] * bool(options)
        how = " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else named[0]
        return _Fit(_narrowed(row, with_options), how)

    def _agrees(self, row: LoggedRow, sample: Sample) -> bool:
        """Whether what a row says besides an id contradicts it: numbers are ids of many things."""
        head, options = split(row.question or row.prompt)
        mine = words(sample.question)
        asks = mine in (words(row.question), words(head)) if row.question else not row.prompt or mine in words(row.prompt)
        listed = [words(text) for text in unlettered(row.options or options)]
        return asks and self._is_of_video(row, sample) and self._has_options(listed, sample, none=False)

    def _strange_id(self, row: LoggedRow) -> str:
        """An id of a row that is like those of the questions but none's: a record that the benchmark leaves out, say.

        Numbers alone, and the name of the row's video, are ids of other things.
        """
        ids = [id for id in row.ids if not id.isdigit() and video_name(id) not in row.videos]
        if any(id in self.by_id for id in row.ids):
            return ""
        return next((id for id in ids if _form(id) in self._forms), "")

    def _is_of_video(self, row: LoggedRow, sample: Sample) -> bool:
        return not row.videos or not self._names[sample.id].isdisjoint(row.videos)

    def _has_options(self, listed: Sequence[str], sample: Sample, *, none: bool) -> bool:
        """Whether a row's options are a question's; `none` where its record shows that there are none."""
        mine = self._options[sample.id]
        if none:
            return not mine or sorted(mine) == ["no", "yes"]  # these go without saying
        return not listed or sample.options is None or listed == mine

    def quoted(self, text: str, common: frozenset[str]) -> set[str]:
        """The questions that stand in a text, without those inside longer ones and those of every prompt of the file."""
        spoken = words(text).split()
        spans: list[tuple[int, int, str]] = []
        for start in range(len(spoken)):
            node: Any = self._words
            for place in range(start, len(spoken)):
                node = node.get(spoken[place])
                if node is None:
                    break
                if "" in node:
                    spans.append((start, place + 1, node[""]))
        reached, found = 0, set()
        for _, end, key in sorted(spans, key=lambda span: (span[0], -span[1])):
            if end > reached:
                found.add(key)
                reached = end
        return found - common or found

    def in_all_prompts(self, rows: Sequence[LoggedRow]) -> frozenset[str]:
        """Questions that each prompt of a file holds: examples of the tool's own."""
        prompts = [row.prompt for row in rows if row.prompt and not row.question]
        found: set[str] | None = None
        for prompt in prompts if len(prompts) > 1 else ():
            mine = self.quoted(prompt, frozenset())
            found = mine if found is None else found & mine
            if not found:
                break
        return frozenset(found or ())


def _form(id: str) -> str:
    """An id with 0 in place of each number: alike for all records of most benchmarks."""
    return re.sub(r"[0-9]+", "0", id)


def _names(sample: Sample) -> frozenset[str]:
    """How tools may name a question's video."""
    others = (str(other["video"]) for other in sample.meta.get("alternatives", ()))
    names = {video_name(name) for name in (sample.video, *others)} | {sample.video_key.partition(":")[2].casefold()}
    return frozenset(names | {name.removeprefix("v_") for name in names} - {""})


def _narrowed(row: LoggedRow, samples: list[Sample]) -> list[Sample]:
    """Those of several that the row's task and right answer fit, too, if any do."""
    for fits in (_has_label, _has_target):
        fitting = [sample for sample in samples if fits(row, sample)]
        samples = fitting or samples
    return samples


def _has_label(row: LoggedRow, sample: Sample) -> bool:
    known = {words(str(value)) for value in sample.meta.values() if isinstance(value, str)}
    return bool(row.labels) and any(label in known for label in row.labels)


_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def _has_target(row: LoggedRow, sample: Sample) -> bool:
    if sample.answer_index is not None and sample.answer is not None:
        letter, answer = LETTERS[sample.answer_index].casefold(), words(sample.answer)
        said = words(row.target)
        return said in (letter, answer, str(sample.answer_index)) or said.endswith(f" {answer}")
    times = [float(time) for time in _NUMBER.findall(row.target)]
    pairs = list(zip(times[::2], times[1::2], strict=False))
    return any(abs(a - span.start) < 0.05 and abs(b - span.end) < 0.05 for a, b in pairs for span in sample.spans or ())
