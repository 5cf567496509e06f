"""Samples -> rows: the one loop behind probe, eval and infer, with the run folder that makes it resumable.

Brings videos, prompts, engine, parser, scores and rewards together; decides nothing about which samples or why.
"""

from trlt.rollout.folder import Run, environment, model_identity, open_run
from trlt.rollout.loop import Asker, Progress, Summary, request, run
from trlt.rollout.row import to_row
from trlt.rollout.rows import read_rows
from trlt.rollout.share import Sharing
from trlt.rollout.videos import Found, find_videos, videos_root

__all__ = [
    "Asker",
    "Found",
    "Progress",
    "Run",
    "Sharing",
    "Summary",
    "environment",
    "find_videos",
    "model_identity",
    "open_run",
    "read_rows",
    "request",
    "run",
    "to_row",
    "videos_root",
]
