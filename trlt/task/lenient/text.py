"""An output without its dress: wide letters, Markdown, LaTeX, end marks and reasoning taken off. Pure.

Repeats in the patterns are bounded, or what they repeat can't match in two ways, so none backtracks over a long text.
"""

from __future__ import annotations

import re
import unicodedata

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("。．", "."),
        **dict.fromkeys("、，", ","),
        **dict.fromkeys("〜∼", "~"),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("“”「」『』", '"'),
        **dict.fromkeys("‘’", "'"),
        **dict.fromkeys("→⇒", "~"),
        "【": "[",
        "】": "]",
        # Emphasis and formulas of one letter; nothing of an answer is made of these.
        **dict.fromkeys("*`$\u200b\u200c\u200d\u2060\ufeff", None),
    }
)
_FENCE = re.compile(r"```[A-Za-z]{0,12}")
_BOX = re.compile(r"<\|(begin|end)_of_box\|>")
_BOXED = re.compile(r"\\f?boxed\s{0,3}\{([^{}]{0,300})\}")
_END_MARK = re.compile(r"<\|[^|<>]{1,30}\|>|</?s>|</?(?:b|i|em|strong|br|p|code|sub|sup)\s?/?>")
_LATEX = re.compile(
    r"\\(?:text|textbf|textit|textrm|texttt|mathrm|mathbf|mathsf|mathit|bf|rm|operatorname)\s?\{([^{}]{0,300})\}"
)
_LATEX_SPACE = re.compile(r"\\(?:[,;:! \[\]()]|quad\b|left\b|right\b)")
_UNDERLINE = re.compile(r"__(?=\S)|(?<=\S)__")
_HEADING = re.compile(r"^[ \t]{0,8}(?:#{1,6}|>+|[-+•·])[ \t]+", re.MULTILINE)
_REASONING = r"(?:think|thinking|thought|reasoning|analysis)"
_CLOSED = re.compile(rf"</\s?{_REASONING}\s?>|◁/think▷", re.IGNORECASE)
_OPENED = re.compile(rf"<\s?{_REASONING}\s?>|◁think▷", re.IGNORECASE)


def cleaned(text: str) -> str:
    r"""A text in plain signs: `Ｂ`, `**B**`, `\text{B}`, `B<|im_end|>` are `B`; `\boxed{B}` is a line `Answer: B`."""
    plain = unicodedata.normalize("NFKC", text)
    out = plain if len(plain) <= 2 * len(text) else text  # some signs are whole sentences
    out = _FENCE.sub("\n", out)
    out = _BOX.sub(lambda mark: r"\boxed{" if mark[1] == "begin" else "}", out)
    out = _END_MARK.sub(" ", out)
    for _ in range(2):  # one in the other
        out = _LATEX.sub(r"\1", out)
    out = _BOXED.sub(r"\nAnswer: \1\n", _LATEX_SPACE.sub(" ", out))
    return _HEADING.sub("", _UNDERLINE.sub("", out.translate(_SIGNS)))


def final_part(text: str) -> str:
    """What follows the reasoning; empty where the reasoning doesn't end, as it holds no final answer then.

    `<think>` may be missing: chat templates of some models open it in the prompt.
    """
    closed = [mark.end() for mark in _CLOSED.finditer(text)]
    rest = text[closed[-1] :] if closed else text
    opened = _OPENED.search(rest)
    return rest[: opened.start()] if opened else rest


_OPEN = {
    "answer": re.compile(r"<\s?(?:answer|ans|final_answer)\s?>", re.IGNORECASE),
    "observe": re.compile(r"<\s?observe\s?>", re.IGNORECASE),
}
_NEXT_TAG = re.compile(r"</?\s?(?:think|observe|answer|ans|final_answer)|</\s?$", re.IGNORECASE)
_LOST_END = re.compile(r"</?\s?(?:answer|ans|final_answer)\s?>?", re.IGNORECASE)


def inside(tag: str, text: str) -> str | None:
    """What follows the last opening tag, up to the next tag or the end (`<answer>B</answer`); None without one."""
    opened = [mark.end() for mark in _OPEN[tag].finditer(text)]
    if not opened:
        return None
    end = _NEXT_TAG.search(text, opened[-1])
    return _LOST_END.sub(" ", text[opened[-1] : end.start() if end else len(text)]).strip()


def without(tag: str, text: str) -> str:
    """The text without a tag's part, and without closing tags that nothing opened (`B</answer>`)."""
    start = _OPEN[tag].search(text)
    if start is not None:
        end = text.find("</", start.end())
        shut = text.find(">", end) if end >= 0 else -1
        text = text[: start.start()] + "\n" + (text[shut + 1 :] if shut >= 0 else "")
    return _LOST_END.sub("\n", text)
