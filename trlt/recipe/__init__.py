"""One recipe describes a whole experiment, one section per stage.

Order of precedence: defaults < recipe file < `--set a.b=c` < flags. Knows neither torch nor videos.
"""

from trlt.recipe._advice import advice
from trlt.recipe._base import Decoding, Effect, Section
from trlt.recipe._yaml import read_yaml, to_yaml
from trlt.recipe.algorithms import stands_for
from trlt.recipe.effects import TRAINING_ALONE, changing, effect, tells_apart
from trlt.recipe.keys import every_key, meant
from trlt.recipe.load import differences, dump_recipe, fault_message, flat, load_recipe, save_recipe, schema_json
from trlt.recipe.names import is_plan, name_of, recipe_file, shipped, shipped_name
from trlt.recipe.online import Curriculum, Near, Online, Replay, Reprobe, Skip
from trlt.recipe.reward_rules import LengthBand, Phase, TaskReward
from trlt.recipe.rewards import OwnPart, Rewards
from trlt.recipe.sections import Benchmark, Eval, Model, Probe, Recipe, Source, Stage, Video
from trlt.recipe.selection import Select, Sizes
from trlt.recipe.selection_rules import META, ROW_MEASURES, Target
from trlt.recipe.stages import shadowed
from trlt.recipe.training import Lora, Sft, Train
from trlt.recipe.update import Offline, Update

__all__ = [
    "TRAINING_ALONE",
    "META",
    "ROW_MEASURES",
    "Benchmark",
    "Curriculum",
    "Decoding",
    "Effect",
    "Eval",
    "LengthBand",
    "Lora",
    "Model",
    "Near",
    "Online",
    "Offline",
    "OwnPart",
    "Phase",
    "Probe",
    "Recipe",
    "Replay",
    "Reprobe",
    "Rewards",
    "Section",
    "Select",
    "Sft",
    "Sizes",
    "Skip",
    "Source",
    "Stage",
    "TaskReward",
    "Target",
    "Train",
    "Update",
    "Video",
    "advice",
    "changing",
    "differences",
    "dump_recipe",
    "effect",
    "every_key",
    "fault_message",
    "flat",
    "is_plan",
    "load_recipe",
    "meant",
    "name_of",
    "read_yaml",
    "recipe_file",
    "save_recipe",
    "schema_json",
    "shadowed",
    "shipped",
    "shipped_name",
    "stands_for",
    "tells_apart",
    "to_yaml",
]
