"""One recipe describes a whole experiment, one section a stage.

Order of precedence: defaults < recipe file < `--set a.b=c` < flags. Knows neither torch nor videos.
"""

from trlt.recipe._base import Decoding, Section
from trlt.recipe._yaml import to_yaml
from trlt.recipe.load import differences, dump_recipe, load_recipe, save_recipe, schema_json
from trlt.recipe.sections import (
    Benchmark,
    Eval,
    Launch,
    Lora,
    Model,
    Prepare,
    Probe,
    Recipe,
    Rewards,
    Select,
    Sft,
    Sizes,
    Source,
    Train,
    Video,
)

__all__ = [
    "Benchmark",
    "Decoding",
    "Eval",
    "Launch",
    "Lora",
    "Model",
    "Prepare",
    "Probe",
    "Recipe",
    "Rewards",
    "Section",
    "Select",
    "Sft",
    "Sizes",
    "Source",
    "Train",
    "Video",
    "differences",
    "dump_recipe",
    "load_recipe",
    "save_recipe",
    "schema_json",
    "to_yaml",
]
