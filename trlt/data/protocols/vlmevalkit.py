"""VLMEvalKit's protocols: its classes with 64 frames (of several it offers), its Qwen2.5-VL for video, and no judge."""

from __future__ import annotations

from typing import Any

from trlt.data.protocols import _letters
from trlt.data.protocols._protocol import Budget, Protocol

_FRAMES = Budget.uniform(64, min_tokens=128, max_tokens=24_576)
"""`Qwen2.5-VL-7B-Instruct-ForVideo`: 128 to 768 x 28 x 28 pixels a frame, 24,576 x 28 x 28 in all."""
_LINES = r"{{ lettered | join('\n') }}"
_BRACKETS = r"{% for option in options %}{{ '\n' }}({{ letters[loop.index0] }}) {{ option }}{% endfor %}"
_LEADS = (
    *("The best answer is", "The correct answer is", "The answer is", "The answer"),
    # Two commas are missing in its list, so these four are never cut.
    *("The best option isThe correct option is", "Best answer:Best option:", "Answer:", "Option:"),
)
_V2_LEADS = (
    *("Final Answer:", "The best answer is", "The correct answer is", "The answer is", "The answer", "The best option is"),
    *("The correct option is", "Best answer:", "Best option:", "Answer:", "Option:"),
)
_FIRST = "the first capital letter anywhere, after lead-ins are cut (`Because …` is B)"
_NO_JUDGE = "It asks a judge where its rules read nothing; without one that is wrong, so the figure is a lower bound."
_SYSTEM = "Its words before the video stand in the system turn here, as in its variant for servers."


def _protocol(config: str, template: str | None, reads: str, read: _letters.Reader, **more: Any) -> Protocol:
    return Protocol("e8e78f0, 2026-08-18", f"vlmeval/dataset, {config}", 2048, template, reads, read, _FRAMES, **more)


PROTOCOLS: dict[str, Protocol] = {
    "videomme": _protocol(
        "Video-MME_64frame",
        "{{ '\\n' }}These are the frames of a video. Select the best answer to the following multiple-choice "
        "question based on the "
        "video. Respond with only the letter (A, B, C, or D) of the correct option.\n"
        f"Question: {{{{ question }}}}\n{_LINES}\nAnswer: ",
        _FIRST,
        _letters.first_capital("ABCD", _LEADS),
    ),
    "videomme_v2": _protocol(
        "Video-MME-v2_64frame",
        "These are the frames of a video.Question: {{ question }}\n"
        + _LINES
        + "\nSelect the best answer to the following multiple-choice question based on the video. Respond with only the letter "
        "(A, B, C, D, E, F, G, or H) of the correct option.",
        _FIRST,
        _letters.first_capital("A-H", _V2_LEADS),
        figure="score",
        notes=("It resizes frames to about 448 x 448 pixels; here the budget decides.",),
    ),
    "mvbench": _protocol(
        "MVBench_64frame",
        "Question: {{ question }}\nOptions:" + _BRACKETS + "{{ '\\n' }}Only give the best option.Best option:(",
        "the first word is part of `(b)` or holds it; else the only letter among the last words, or the only text",
        _letters.vlmevalkit_mvbench,
        system="Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement of "
        "objects, and the action and pose of persons. Based on your observations, select the best option that "
        "accurately addresses "
        "the question.\n",
        notes=(_SYSTEM, _NO_JUDGE, "There an empty output is right; here it is wrong."),
    ),
    "mlvu": _protocol(
        "MLVU_64frame",
        "Question: {{ question }}\nOptions:" + _BRACKETS + "{{ '\\n' }}Only give the best option.",
        "the letter alone or before the first bracket; else the only letter among the last words, or the only text",
        _letters.vlmevalkit_mlvu,
        system="Carefully watch this video and pay attention to every detail. Based on your observations, select "
        "the best option "
        "that accurately addresses the question.",
        notes=(_SYSTEM, _NO_JUDGE, "What it calls M-Avg is a mean over all questions: `acc`."),
    ),
    "longvideobench": _protocol(
        "LongVideoBench_64frame",
        f"{{{{ question }}}}\n{_LINES}\nAnswer with the option's letter from the given choices directly.",
        _FIRST,
        _letters.first_capital("ABCDE", _LEADS),
        notes=("Without subtitles.",),
    ),
    "videoholmes": _protocol(
        "Video_Holmes_64frame",
        None,
        "the last answer tag alone: `A `, `A:` or `[A`, else a bare letter, A first; without a tag wrong",
        _letters.vlmevalkit_videoholmes,
        tags=True,
        unknown="it shows the options as a Python list, in which quotes are written anew",
    ),
    "tempcompass": _protocol(
        "TempCompass_64frame",
        "{{ question }}"
        "{% if meta.task == 'caption_matching' %}{% for text in options %}{{ '\\n' }}{{ meta.labels[loop.index0] }}: {{ text }}"
        "{% endfor %}{{ '\\n' }}Please directly give the best option:{% elif meta.task == 'yes_no' %}{{ '\\n' "
        "}}Please answer yes or "
        "no:{% else %}{{ '\\n' }}{{ lettered | join('\\n') }}{{ '\\n' }}Please directly give the best option:{% endif %}",
        "by the benchmark's rules for each task",
        _letters.tempcompass,
        notes=(_NO_JUDGE,),
    ),
}
