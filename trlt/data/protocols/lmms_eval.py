"""lmms-eval's protocols: tasks with their default words, and its chat model of Qwen2.5-VL with its default frames."""

from __future__ import annotations

from typing import Any

from trlt.data.protocols import _letters, _times
from trlt.data.protocols._protocol import Budget, Protocol

_FRAMES = Budget.uniform(32, min_tokens=256, max_tokens=12_288)
"""`max_num_frames=32`, 256 x 28 x 28 to 768 x 28 x 28 pixels a frame: the loader's cap is below `max_pixels` (1,605,632)."""
_DIRECT = "Answer with the option's letter from the given choices directly."
_LINES = r"{{ lettered | join('\n') }}"
_BRACKETS = r"{% for option in options %}({{ letters[loop.index0] }}) {{ option }}{{ '\n' }}{% endfor %}"
_QWEN3 = "Runs of `qwen3_vl` get another prompt: `Question: …`, `Options:` and `Answer with the option letter only.`"
_DRAWS = "Where it reads no letter it draws one; here that is wrong."
_V2_LEADS = (
    *("The best answer is", "The correct answer is", "The answer is", "The answer", "The best option is"),
    *("The correct option is", "Final Answer:", "Best answer:", "Best option:", "Answer:", "Option:"),
)
_LVB_LEADS = (
    *("The best answer is", "The correct answer is", "The answer is", "The answer", "The best option is"),
    *("The correct option is", "Best answer:", "Best option:"),
)


def _select(letters: str) -> str:
    return f"Respond with only the letter ({letters}) of the correct option."


def _protocol(task: str, tokens: int, template: str | None, reads: str, read: _letters.Reader, **more: Any) -> Protocol:
    return Protocol("75571cf, 2026-08-06", f"lmms_eval/tasks/{task}", tokens, template, reads, read, _FRAMES, **more)


_RANKED = "Of all forms of a letter the best one, in it the last: begins or ends with it, after `answer is`, `(A)`, `A.`, `A:`"
_FIRST = "the first capital letter anywhere, after lead-ins are cut (`Because …` is B)"
_MLVU: dict[str, Any] = {
    "unknown": "its data set writes the options into the question in a form that its code doesn't show",
    "notes": ("Letters are A to D, also of six options.",),
    "figure": "m_avg",
}
_TIMELENS = _protocol(
    "timelens",
    50,
    "Please find the visual event described by the sentence '{{ question }}', determining its starting and ending times. "
    "The format should be: 'The event happens in <start time> - <end time> seconds'.",
    "clock times in pairs, else `a - b`, else `a to b`, else all numbers in pairs; the first pair, without rounding",
    _times.timelens,
    figure="mIoU",
    notes=("The authors' own script rounds to whole seconds and takes 512 new tokens.",),
)
PROTOCOLS: dict[str, Protocol] = {
    "charades": _protocol(
        "charades_sta",
        50,
        "Please find the visual event described by a sentence in the video, determining its starting and ending "
        "times. The format "
        "should be: 'The event happens in the start time - end time'. For example, The event 'person turn a light "
        "on' happens in "
        "the 24.3 - 30.4 seonds. Now I will give you the textual sentence: {{ question }}. Please return its start "
        "time and end "
        "time.",
        "the first `a - b` in sentences with start, end or happen; ends are put in order",
        _times.charades,
        figure="mIoU",
        notes=("Whether its data set keeps a sentence's own full stop isn't in its code; sentences are the annotation's.",),
    ),
    "timelens_charades": _TIMELENS,
    "timelens_activitynet": _TIMELENS,
    "timelens_qvhighlights": _TIMELENS,
    "videomme": _protocol(
        "videomme",
        16,
        "Select the best answer to the following multiple-choice question based on the video and the subtitles. "
        + _select("A, B, C, or D")
        + f"\n{{{{ question }}}}\n{_LINES}\n\n{_DIRECT}",
        _RANKED,
        _letters.ranked("ABCD"),
        notes=(_QWEN3, "The prompt speaks of subtitles though none are shown."),
    ),
    "videomme_v2": _protocol(
        "videomme_v2",
        64,
        "Question: {{ question }}\n"
        + _LINES
        + "\nSelect the best answer to the following multiple-choice question based on the video. "
        + _select("A, B, C, D, E, F, G, or H"),
        _FIRST,
        _letters.first_capital("A-H", _V2_LEADS),
        figure="score",
        notes=(_QWEN3,),
    ),
    "mvbench": _protocol(
        "mvbench",
        16,
        "Question:{{ question }}\nOption:\n" + _BRACKETS + "Only give the best option.{{ '\\n' }}",
        "`B. …`, else the first letter A to E that stands alone, in either case (an article is A)",
        _letters.lmms_mvbench,
        notes=("It leaves empty outputs out of a task's denominator; here they are wrong.",),
    ),
    "tempcompass": _protocol(
        "tempcompass",
        128,
        "{{ question }}"
        "{% if meta.task == 'caption_matching' %}{% for text in options %}{{ '\\n' }}{{ meta.labels[loop.index0] }}: {{ text }}"
        "{% endfor %}{{ '\\n' }}Please directly give the best option:{% elif meta.task == 'yes_no' %}{{ '\\n' "
        "}}Please answer yes or "
        "no:{% else %}{{ '\\n' }}{{ lettered | join('\\n') }}{{ '\\n' }}Please directly give the best option:{% endif %}",
        "by the benchmark's rules for each task, without the judge that it asks where these read nothing",
        _letters.tempcompass,
        notes=("Without a judge its figure is a lower bound.",),
    ),
    "mmvu": _protocol(
        "mmvu",
        1024,
        "{{ '\\n' }}Question:{{ question }}\n"
        "{% for letter in ['A', 'B', 'C', 'D', 'E'] %}{{ letter }}: {{ options[loop.index0] | default('') }}{{ "
        "'\\n' }}{% endfor %}"
        "Visual Information: processed video\nDo not generate any intermediate reasoning process. Answer directly "
        "with the option "
        "letter from the\ngiven choices.{{ '\\n' }}",
        "right if the gold letter stands alone anywhere, in either case, or the gold text occurs",
        _letters.lmms_mmvu,
    ),
    "mlvu": _protocol("mlvu", 16, None, _RANKED, _letters.ranked("ABCD"), **_MLVU),
    "mlvu_test": _protocol("mlvu", 16, None, _RANKED, _letters.ranked("ABCD"), **_MLVU),
    "lvbench": _protocol(
        "lvbench",
        16,
        "{{ question }}\n" + _BRACKETS + "Answer the question with the option letter",
        _RANKED,
        _letters.ranked("ABCD"),
    ),
    "longvideobench": _protocol(
        "longvideobench",
        32,
        f"{{{{ question }}}}\n{_LINES}\n{_DIRECT}{{{{ '\\n' }}}}",
        _FIRST,
        _letters.first_capital("ABCDE", _LVB_LEADS),
        notes=("This is longvideobench_val_v, without subtitles.", _DRAWS),
    ),
    "videoholmes": _protocol(
        "video_holmes",
        64,
        "Question: {{ question }}\n"
        + _LINES
        + "\nSelect the best answer to the following multiple-choice question based on the video. "
        + _select("A, B, C, D, E, or F"),
        "MMMU's parser: `(A)`, else `A `, else `A.`, else an option's text; of several the last",
        _letters.mmmu,
        notes=(_QWEN3, _DRAWS),
    ),
    "vsibench": _protocol(
        "vsibench",
        16,
        "These are frames of a video.\n{{ question }}\n{% if options %}Options:{{ '\\n' }}{{ lettered | "
        "join('\\n') }}{{ '\\n' }}"
        + _DIRECT
        + "{% else %}Please answer the question using a single word or phrase.{% endif %}",
        "the first word is the letter; of numbers the first, in digits or words",
        _times.vsibench,
        figure="score",
    ),
}
