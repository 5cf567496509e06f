"""How harnesses read an option from a whole output. Pure; what no rule reads is None, where some of them draw a letter."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from trlt.task.answer import LETTERS, Answer
from trlt.task.sample import Sample

Reader = Callable[[Sample, str], Answer]


def chosen(option: int | None, text: str) -> Answer:
    """An answer that names an option, or none."""
    return Answer(text.strip(), option, None, None, option is not None)


def by_letter(find: Callable[[str, Sample], str | None]) -> Reader:
    """A reading from a function that finds a letter."""

    def read(sample: Sample, text: str) -> Answer:
        letter = find(text, sample)
        place = LETTERS.index(letter) if letter else None
        return chosen(place if place is not None and place < len(sample.options or ()) else None, text)

    return read


_PHRASES = (
    *("the answer is", "answer is", "the correct answer is", "correct answer is", "the best answer is", "best answer is"),
    *("the correct option is", "correct option is", "the best option is", "best option is", "the choice is", "choice is"),
    *("the correct choice is", "correct choice is", "i choose", "i select", "i pick", "my answer is", "my choice is"),
    *("옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは"),
)


def ranked(letters: str) -> Reader:
    """lmms-eval's shared parser: each letter in each form is a candidate; the best form counts, and in it the last place.

    A letter that the output begins with, one that it ends with, one anywhere after a phrase such as `answer is`, then `(A)`,
    `A.`, `A:`, `A)`, `A `; without any of these, a letter anywhere.
    """

    def find(text: str, _: Sample) -> str | None:
        said = text.strip()
        for mark in ",.!?;:'\"":
            said = said.strip(mark)
        padded, bare = f" {said} ", said.strip()
        found: list[tuple[int, int, str]] = []
        for letter in letters:
            shapes = {6: f"({letter})", 5: f"{letter}.", 4: f"{letter}:", 3: f"{letter})", 2: f"{letter} "}
            found += [(rank, padded.rfind(shape), letter) for rank, shape in shapes.items() if shape in padded]
            for phrase in _PHRASES:
                begins = padded.lower().find(phrase)
                if begins >= 0 and (place := padded.find(letter, begins + len(phrase))) >= 0:
                    found.append((7, place, letter))
            if bare[:1] == letter and not bare[1:2].isalpha():
                found.append((10, 0, letter))
            if bare[-1:] == letter and not bare[-2:-1].isalpha():
                found.append((9, len(padded) - 1, letter))
        if not found:
            found = [(0, padded.rfind(letter), letter) for letter in letters if letter in padded]
        return max(found)[2] if found else None

    return by_letter(find)


def first_capital(letters: str, lead_ins: Sequence[str]) -> Reader:
    """The first of some capital letters anywhere, after lead-ins are cut: `Because …` is B."""

    def find(text: str, _: Sample) -> str | None:
        said = text.strip()
        for lead in lead_ins:
            said = said.replace(lead, "")
        found = re.search(f"[{letters}]", said)
        return found[0] if found else None

    return by_letter(find)


def _mvbench(text: str, _: Sample) -> str | None:
    line = re.match(r"([A-E])\.\s*.+$", text.strip(), re.IGNORECASE)
    if line:
        return line[1].upper()
    said = text.replace("\n", " ").replace("\t", " ").strip()
    numbers, clean = re.search(r"\d,\d", said) is not None, said
    for mark in ';/[]"{}()=+\\_->,<@`?!':
        gone = numbers or f"{mark} " in said or f" {mark}" in said
        clean = clean.replace(mark, "" if gone else " ")
    clean = re.sub(r"\.(?!\d)", "", clean, count=32)
    found = re.search(r"\b[A-E]\b", clean, re.IGNORECASE)
    return found[0].upper() if found else None


lmms_mvbench = by_letter(_mvbench)
"""lmms-eval on MVBench: `B. …`, else the first letter that stands alone, in either case: `It is a dog` is A."""


def lmms_mmvu(sample: Sample, text: str) -> Answer:
    """lmms-eval on MMVU: right if the gold letter stands alone anywhere, in either case, or the gold text occurs.

    The gold letter inside any word is enough where a word of the gold text, of three letters or more, occurs too.
    """
    gold, lower = sample.answer_index or 0, text.lower()
    words = [word.strip("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for word in (sample.answer or "").lower().split()]
    alone = re.search(rf"\b{LETTERS[gold]}\b", text, re.IGNORECASE)
    loose = LETTERS[gold].lower() in lower and any(word in lower for word in words if len(word) > 2)
    if alone or (sample.answer or "").lower().strip() in lower or loose:
        return chosen(gold, text)
    first = re.search(r"\b[A-E]\b", text, re.IGNORECASE)
    other = LETTERS.index(first[0].upper()) if first else None
    return chosen(other if other is not None and other < len(sample.options or ()) else None, text)


def _mmmu(text: str, sample: Sample) -> str | None:
    said = text
    for mark in ",.!?;:'":
        said = said.strip(mark)
    said, letters = f" {said} ", LETTERS[: len(sample.options or ())]
    for shape, seen in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        found = [letter for letter in letters if shape.format(letter) in said]
        if found:
            return max(found, key=lambda letter: said.rfind(seen.format(letter)))
    if len(said.split()) <= 5:
        return None
    lower = said.lower()
    texts = {letter: option.lower() for letter, option in zip(letters, sample.options or (), strict=True)}
    found = [letter for letter, option in texts.items() if option in lower]
    return max(found, key=lambda letter: lower.rfind(texts[letter])) if found else None


mmmu = by_letter(_mmmu)
"""MMMU's parser: `(A)`, else `A `, else `A.`, else an option's text in more than five words; of several the last."""


def _ladder(text: str, _: Sample) -> str | None:
    said = re.findall(r"<answer>\s*(.*?)\s*</answer>", text, re.DOTALL)
    if not said:
        return None
    for letter in "ABCDEF":
        if any(shape in said[-1] for shape in (f"{letter} ", f"{letter}:", f"[{letter}")):
            return letter
    return next((letter for letter in "ABCDEF" if letter in said[-1]), None)


vlmevalkit_videoholmes = by_letter(_ladder)
"""VLMEvalKit on Video-Holmes: the last answer tag alone, `A `, `A:` or `[A` before a bare A, A first; no tag is wrong."""


def inferred(sample: Sample, text: str) -> int | None:
    """VLMEvalKit's match without a judge: the only letter, among the last words; else the only option whose text occurs."""
    options = sample.options or ()
    letters = LETTERS[: len(options)]
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", text).split()
    there = [letter for letter in letters if letter in words]
    if len(there) == 1 and words.index(there[0]) > len(words) - 5:
        return LETTERS.index(there[0])
    said = re.search(r"(?i)answer\s+is\s+\**([ABCD])\**", text)
    if said and said[1].upper() in letters:
        return LETTERS.index(said[1].upper())
    if len(text) > 2 * sum(map(len, options)):
        return None
    named = [place for place, option in enumerate(options) if option.lower() in text.lower()]
    return named[0] if len(named) == 1 else None


def vlmevalkit_mvbench(sample: Sample, text: str) -> Answer:
    """VLMEvalKit on MVBench: the first word is part of `(b)`, or holds it; else `inferred`. Empty is wrong here."""
    gold = sample.answer_index or 0
    mark, first = f"({LETTERS[gold].lower()})", text.lower().strip().split(" ")[0]
    if first and (first.replace(".", "") in mark or mark in first):
        return chosen(gold, text)
    return chosen(inferred(sample, text), text)


def vlmevalkit_mlvu(sample: Sample, text: str) -> Answer:
    """VLMEvalKit on MLVU: the letter alone, or right before the first `)`; else `inferred`."""
    gold = sample.answer_index or 0
    place = text.find(")")
    said = text[max(place - 1, 0) : place] if place >= 0 else text
    return chosen(gold if said == LETTERS[gold] else inferred(sample, text), text)


def tempcompass(sample: Sample, text: str) -> Answer:
    """TempCompass without a judge: the line or letter of an option; `yes` or `no` first; a matching option, text or label."""
    options, task = sample.options or (), sample.meta["task"]
    if task == "yes_no":
        begins = [place for place, word in enumerate(options) if text.lower().startswith(word)]
        return chosen(begins[0] if begins else None, text)
    if task == "caption_matching":
        return chosen(_matching(sample, text), text)
    for place, (letter, option) in enumerate(zip(LETTERS, options, strict=False)):
        if text in (letter, f"{letter}. {option}") or text.startswith((f"{letter}.", f"{letter})")):
            return chosen(place, text)
    return chosen(None, text)


def _matching(sample: Sample, text: str) -> int | None:
    after = text.split(") ")[1] if ") " in text else text
    for place, (label, option) in enumerate(zip(sample.meta["labels"], sample.options or (), strict=True)):
        if text == f"{label}: {option}" or option in (text, after):
            return place
        if text.replace(".", "") in (label, label.split()[-1]):
            return place
    return None
