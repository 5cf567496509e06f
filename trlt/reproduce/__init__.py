"""A pre-registered experiment: a plan of arms, seeds and claims becomes runs of trlt's own commands, figures and verdicts.

Knows plans, the commands' arguments and the files that they leave; neither models nor videos.
"""

from trlt.reproduce.plan import load_plan
from trlt.reproduce.records import Record, read_records
from trlt.reproduce.sections import Plan
from trlt.reproduce.verdicts import judge

__all__ = ["Plan", "Record", "judge", "load_plan", "read_records"]
