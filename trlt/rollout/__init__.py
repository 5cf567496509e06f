"""Samples -> rows: the one loop behind probe, eval and infer, with the run folder that makes it resumable.

Brings videos, prompts, engine, parser, scores and rewards together; decides nothing about which samples or why.
"""

from trlt.rollout.folder import Run, environment, model_identity, open_run, videos_root
from trlt.rollout.loop import Asker, Progress, Summary, request, run
from trlt.rollout.row import to_row
from trlt.rollout.rows import read_rows
from trlt.rollout.share import Sharing

__all__ = [
    "Asker",
    "Progress",
    "Run",
    "Sharing",
    "Summary",
    "environment",
    "model_identity",
    "open_run",
    "read_rows",
    "request",
    "run",
    "to_row",
    "videos_root",
]
