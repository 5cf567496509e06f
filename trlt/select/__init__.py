"""Turns probe rows into the ids to train on, with a report of what was taken and what fell short (pure).

Knows rows as `trlt.rollout` writes them and a recipe's `select` section; neither samples' texts nor videos.
"""

from trlt.select.choose import Selection, select
from trlt.select.classes import CLASSES, Class, classify, deviation, difficulty
from trlt.select.histogram import histogram
from trlt.select.rules_report import Bin, BinsCell, Measured, RulesReport, RuleStep
from trlt.select.selection_report import SelectionCell, SelectionReport, TaskTotal, nothing_taken
from trlt.select.shares import apportion, redistributed, water_fill

__all__ = [
    "CLASSES",
    "Bin",
    "BinsCell",
    "Class",
    "Measured",
    "RuleStep",
    "RulesReport",
    "Selection",
    "SelectionCell",
    "SelectionReport",
    "TaskTotal",
    "apportion",
    "classify",
    "deviation",
    "difficulty",
    "histogram",
    "nothing_taken",
    "redistributed",
    "select",
    "water_fill",
]
