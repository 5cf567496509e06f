"""How to use a tuned model without trlt: the code on its card. Knows recipes and prompts; only text, loads nothing.

The code must give the log-probabilities of trlt's own engine wherever it is pasted: frames by the recipe's budget, the prompt's
words, the times of frames, and positions by the rule that the weights were trained with (`trlt/engine/mrope.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from trlt.engine.families import THINKING, Family
from trlt.errors import DataError
from trlt.recipe import Recipe
from trlt.task.prompt import Prompt, build
from trlt.task.sample import TASKS, Task
from trlt.task.user_question import question_sample

EVENT = "a person opens the door"
"""The event of the example."""
PACKAGES = "transformers accelerate qwen-vl-utils torchcodec"

LOAD = """from itertools import groupby

import torch
from qwen_vl_utils import fetch_video
from transformers import AutoProcessor, CLASS

folder, video = "FOLDER", "VIDEO.mp4"
model = CLASS.from_pretrained(folder, dtype="auto", device_map="auto")
processor = AutoProcessor.from_pretrained(folder)
"""
POSITIONS = '''

def get_rope_index(input_ids, *args, video_grid_thw, GIVENattention_mask=None, **kwargs):
    """Positions (3, rows, tokens) of prompts with videos as in training, and how far they run ahead of the tokens' places."""
    positions, ahead = input_ids.new_zeros(3, *input_ids.shape), []
    clips = iter(CLIPS)
    for row, ids in enumerate(input_ids):
        kept = torch.ones_like(ids).bool() if attention_mask is None else attention_mask[row].bool()
        parts, end = [], 0
        for is_video, stretch in groupby((ids[kept] == model.config.video_token_id).tolist()):
            if is_video:
                NEXT = next(clips)
                times = TIMES
                axes = torch.meshgrid(times, torch.arange(h // 2), torch.arange(w // 2), indexing="ij")
                parts.append(torch.stack(axes).flatten(1) + end)
                end = AFTER
            else:
                parts.append(torch.arange(len(list(stretch))).expand(3, -1) + end)
                end = int(parts[-1].max()) + 1
        positions[:, row, kept] = torch.cat(parts, dim=1).to(positions)
        ahead.append(end - int(kept.sum()))
    return positions, torch.tensor(ahead, device=input_ids.device)[:, None]


model.model.get_rope_index = get_rope_index
'''
COUNTED = {
    "positions": {
        "GIVEN": "second_per_grid_ts, ",
        "CLIPS": "zip(video_grid_thw.tolist(), second_per_grid_ts.tolist())",
        "NEXT": "(t, h, w), seconds",
        "TIMES": "(torch.arange(t) * seconds * model.config.vision_config.tokens_per_second).long()",
    },
    None: {"GIVEN": "", "CLIPS": "video_grid_thw.tolist()", "NEXT": "t, h, w", "TIMES": "torch.arange(t)"},
}
"""How positions count time, by `Family.time_in`."""
AFTER = "int(parts[-1].max()) + 1  # text goes on one past the video's largest position"
AFTER_LIBRARY = "end + max(h, w) // 2  # text goes on after the larger of the video's height and width"
ASK = """
budget = BUDGET
FETCH
system = SYSTEM
user = USER
messages = [
    {"role": "system", "content": [{"type": "text", "text": system}]},
    {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": user}]},
]
ASKEDtext = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=FalseTHINK)
PROCESS
inputs = inputs.to(model.device)
completion = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
print(processor.decode(completion, skip_special_tokens=True))
"""
SYSTEM_TURN = """    {"role": "system", "content": [{"type": "text", "text": system}]},
"""

FETCHED = {
    "positions": 'frames, fps = fetch_video({"video": video, **budget}, return_video_sample_fps=True)',
    None: 'frames = fetch_video({"video": video, **budget})',
    "text": 'frames, times = fetch_video({"video": video, **budget}, image_patch_size=PATCH, return_video_metadata=True)',
}
PROCESS = 'inputs = processor(text=[text], videos=[frames], do_resize=False, do_sample_frames=False, return_tensors="pt")'
PROCESSED = {
    "positions": PROCESS
    + '\ninputs["second_per_grid_ts"] = torch.tensor([2 / fps])  # the true rate; two frames make a temporal patch',
    None: PROCESS,
    "text": """inputs = processor(
    text=[text], videos=[frames], video_metadata=[times], do_resize=False, do_sample_frames=False, return_tensors="pt"
)""",
}
"""How frames are read, and how they and their times are handed over, by `Family.time_in`."""
ASKED = f'''asked = {{"{THINKING}": VALUE}} if "{THINKING}" in processor.chat_template else {{}}
'''
"""Whether reasoning is asked for, where a template has a say in it."""

RUN_WITH = {
    "positions": "5.2, 5.3, 5.5, 5.6, 5.12, 5.23 and 5.24",
    None: "5.2, 5.9, 5.10 and 5.23",
    "text": "5.23; Qwen3-VL also with 5.2, 5.9, 5.10 and 5.24",
}
"""Versions in which the code was seen to give trlt's log-probabilities, by `Family.time_in`."""
NEEDS = """It needs transformers 5.2 or newer (run with VERSIONS); version 4 can't read
this folder. qwen-vl-utils reads files by torchcodec, which needs FFmpeg's libraries, or by decord. Instead of a file it takes
a list of pictures, with their rate as `"sample_fps"` in `budget`."""
SECONDS = """The library's own also cuts the seconds between frames to whole ones (seen in 5.2 to 5.12; 5.3 to 5.5 leave them
out, and from 5.18 on they are right)."""
PUBLISHED = """`get_rope_index` takes the place of the library's, which from 5.3 on places the text after a video elsewhere
than this model's training did: for a clip of a minute, in the middle of that clip. SECONDS vLLM and SGLang place the text as
here."""
LIBRARY = """`get_rope_index` takes the place of the library's. These weights were trained with the text after a video placed
as transformers 5.3 to 5.24 place it, which isn't the rule of the published FAMILY: vLLM, SGLang and older versions follow
that one, and get other answers from these weights. `"text_after_video": "library"` in `config.json` says so. SECONDS"""
BARE = """The processor writes the seconds of each pair of frames before it. In the chat template of this folder a video is
`<|video_pad|>` alone. That of the published models has vision marks around it, which transformers since 5.10 leaves around the
whole video; the models were trained without, and so was this one."""
OUTER = """The processor writes the seconds of each pair of frames before it. These weights were tuned with vision marks around
the whole video, as transformers since 5.10 leaves them, and the published models weren't: `"video_marks": "outer"` in
`config.json` says so."""
DRAWN = """`generate` draws as `generation_config.json` says, which is how `trlt eval` draws by the recipe."""


def use(recipe: Recipe, family: Family, *, library_positions: bool = False, outer_marks: bool = False) -> str:
    """The section "Use" of a card, as Markdown.

    Args:
        recipe: The recipe behind clips, prompts and decoding.
        family: The model's.
        library_positions: Whether the weights were trained with text placed as transformers 5.3 and newer place it.
        outer_marks: See `Family.has_outer_marks`.
    """
    lead = '`trlt infer VIDEO "a question" --model FOLDER --recipe RECIPE`, with the recipe below, asks as in training.'
    code = snippet(recipe, family, library_positions=library_positions)
    needs = NEEDS.replace("VERSIONS", RUN_WITH[family.time_in])
    if family.time_in == "text":
        needs += " qwen-vl-utils is needed from 0.0.14 on."
        rule = OUTER if outer_marks else BARE
    else:
        rule = (LIBRARY if library_positions else PUBLISHED).replace("FAMILY", family.name)
        rule = rule.replace(" SECONDS", f" {SECONDS}" if family.time_in == "positions" else "")
    return f"{lead} Without trlt, after `pip install {PACKAGES}`:\n\n```python\n{code}```\n\n{needs}\n\n{rule}\n\n{DRAWN}"


def snippet(recipe: Recipe, family: Family, *, library_positions: bool = False) -> str:
    """The code of `use`; readers replace `FOLDER` and `VIDEO.mp4`."""
    video, train, side = recipe.video, recipe.train, family.geometry.side
    words = _example(recipe)
    budget = {
        "fps": video.fps,
        "min_frames": video.min_frames,
        "max_frames": video.max_frames,
        "min_pixels": video.min_tokens * side**2,
        "total_pixels": video.max_tokens * side**2,
    }
    told = family.time_in
    filled = {
        "FETCH": FETCHED[told].replace("PATCH", str(family.geometry.patch)),
        "PROCESS": PROCESSED[told],
        "ASKED": ASKED.replace("VALUE", str(train.think)) if told == "text" else "",
        "THINK": ", **asked" if told == "text" else "",
        "BUDGET": json.dumps(budget),
        "SYSTEM": json.dumps(words.system),
        "USER": json.dumps(words.user, ensure_ascii=False),
    }
    asking = ASK if words.system else ASK.replace("system = SYSTEM\n", "").replace(SYSTEM_TURN, "")
    load, ask = _fill(LOAD, {"CLASS": family.class_names[1]}), _fill(asking, filled)
    if told == "text":
        return load.replace("from itertools import groupby\n\n", "") + ask
    return load + _fill(POSITIONS, COUNTED[told] | {"AFTER": AFTER_LIBRARY if library_positions else AFTER}) + ask


def _example(recipe: Recipe) -> Prompt:
    """The prompt of an example, of a task with an own template where there is one.

    A template that shows what only samples have can't be filled; then it stands there itself.
    """
    train, words = recipe.train, recipe.prompt.words()
    own = dict(words.templates)
    tasks: list[Task] = sorted(TASKS, key=lambda task: (task not in own, task != "grounding"))
    for task in tasks:
        options = ("yes", "no") if task == "multi_choice" else ()
        sample = question_sample("VIDEO.mp4", EVENT, task, options)
        try:
            return build(sample, think=train.think, answer_format=train.answer_format, words=words)
        except DataError:
            continue
    return Prompt(words.system, next(iter(own.values()), EVENT), train.think)


def _fill(code: str, values: Mapping[str, str]) -> str:
    """Code with words in capitals replaced, all at once: a value may hold any word."""
    return re.sub("|".join(values), lambda found: values[found[0]], code)
