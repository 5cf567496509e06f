"""Samples -> rows: the one loop behind probe, eval and infer, with the run folder that makes it resumable.

Brings videos, prompts, engine, parser, scores and rewards together; doesn't choose samples.
"""

from trlt.rollout.loop import Summary, request, run
from trlt.rollout.row import to_row
from trlt.rollout.rows_file import read_rows
from trlt.rollout.run_folder import RunFiles, environment, model_identity, open_run, videos_root
from trlt.rollout.shared.shared_rows import Sharing

__all__ = [
    "RunFiles",
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
