"""The authors' own protocols, where their scripts say how a model is asked; answers are read by the official rule."""

from __future__ import annotations

from trlt.data.protocols._protocol import Budget, Protocol

_RULE = "the benchmark's official rule, on the text in answer tags or the whole output"
_LINES = r"{{ lettered | join('\n') }}"
_TIMELENS = Protocol(
    "5d90c06, 2026-04-21",
    "github.com/TencentARC/TimeLens, evaluation/",
    512,
    "Please find the visual event described by the sentence '{{ question }}', determining its starting and ending times. "
    "The format should be: 'The event happens in <start time> - <end time> seconds'.",
    _RULE,
    budget=Budget(2.0, 4, 768, 64, 14_336),
    figure="mIoU",
)
PROTOCOLS: dict[str, Protocol] = {
    "timelens_charades": _TIMELENS,
    "timelens_activitynet": _TIMELENS,
    "timelens_qvhighlights": _TIMELENS,
    "tvgbench": Protocol(
        "7f2b594, 2025-11-27",
        "github.com/xiaomi-research/time-r1, src/vllm_inference",
        1024,
        'To accurately pinpoint the event "{{ question }}" in the video, determine the precise time period of the event.\n\n'
        "Output your thought process within the <think> </think> tags, including analysis with either specific time ranges "
        "(xx.xx to xx.xx) in <timestep> </timestep> tags.\n\nThen, provide the start and end times (in seconds, precise to two "
        'decimal places) in the format "start time to end time" within the <answer> </answer> tags. For example: '
        '"12.54 to 17.83".',
        _RULE,
        budget=Budget(max_tokens=3584),
        tags=True,
        system="You are a video analysis expert.",
        figure="mIoU",
    ),
    "videoholmes": Protocol(
        "52ef8da, 2025-07-13",
        "github.com/TencentARC/Video-Holmes, evaluate.py",
        1024,
        "Based on the given video, reason and answer the single-choice question. Provide your reasoning between "
        "the <think> and "
        "</think> tags, and then give your final answer between the <answer> and </answer> tags. The question is: "
        "{{ question }}. "
        "The options are: {% for text in options %}{{ letters[loop.index0] }}: {{ text }}{{ ', ' if not loop.last else '' }}"
        "{% endfor %}. Your answer:",
        _RULE,
        tags=True,
        notes=("Frames aren't set there for Qwen2.5-VL: the recipe's are taken.",),
    ),
    "vsibench": Protocol(
        "thinking-in-space",
        "github.com/vision-x-nyu/thinking-in-space, lmms_eval/tasks/vsibench",
        16,
        "These are frames of a video.\n{{ question }}\n{% if options %}Options:{{ '\\n' }}{{ lettered | "
        "join('\\n') }}{{ '\\n' }}"
        "Answer with the option's letter from the given choices directly.{% else %}Please answer the question "
        "using a single word "
        "or phrase.{% endif %}",
        _RULE,
        budget=Budget.uniform(32),
        figure="score",
    ),
    "videomme_v2": Protocol(
        "b24176a, 2026-04-14",
        "github.com/MME-Benchmarks/Video-MME-v2, evaluation/",
        4096,
        "These are the frames of a video.Question: {{ question }}\n"
        + _LINES
        + "\nSelect the best answer to the following multiple-choice question based on the video. Respond with only the letter "
        "(A, B, C, D, E, F, G, or H) of the correct option.",
        _RULE,
        budget=Budget.uniform(64),
        figure="score",
        notes=("Frames stand inside the video there (i x n / 65); here from the first to the last.",),
    ),
    "mmvu": Protocol(
        "4d54223, 2025-02-27",
        "github.com/yale-nlp/MMVU, utils/constant.py (chain of thought)",
        1024,
        "{{ '\\n' }}Question: {{ question }}\n"
        "{% for letter in ['A', 'B', 'C', 'D', 'E'] %}{{ letter }}: {{ options[loop.index0] | default('') }}{{ "
        "'\\n' }}{% endfor %}"
        "{{ '\\n' }}Answer the given multiple-choice question step by step. Begin by explaining your reasoning "
        "process clearly. "
        "Conclude by stating the final answer using the following format: 'Therefore, the final answer is: $LETTER' (without "
        "quotes), where $LETTER is one of the options. Think step by\nstep before answering.",
        _RULE,
        notes=("It samples at temperature 1.0, and a judge reads the answer; here decoding is greedy, by rule.",),
    ),
}
