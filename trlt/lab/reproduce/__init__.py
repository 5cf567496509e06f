"""A pre-registered experiment: a plan of arms, seeds and claims becomes runs of trlt's own commands, metrics and verdicts.

Knows plans, the commands' arguments and the files that they leave; neither models nor videos.
"""

from trlt.lab.reproduce.claims_plan import load_plan
from trlt.lab.reproduce.plan_sections import Plan
from trlt.lab.reproduce.records import RunRecord, read_records
from trlt.lab.reproduce.verdicts import judge

__all__ = ["Plan", "RunRecord", "judge", "load_plan", "read_records"]
