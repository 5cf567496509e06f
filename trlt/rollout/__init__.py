"""Samples -> rows: the one loop behind probe, eval and infer, with the run folder that makes it resumable.

Brings videos, prompts, engine, parser, scores and rewards together; doesn't choose samples.
"""

from trlt.rollout.loop import Summary, run, run_sets
from trlt.rollout.question_sets import QuestionSet
from trlt.rollout.read_clips import request
from trlt.rollout.row import to_row
from trlt.rollout.rows_file import read_rows
from trlt.rollout.run_folder import RunFiles, environment, model_identity, open_run, videos_root
from trlt.rollout.shared.shared_rows import Sharing
from trlt.rollout.shared.work_files import WorkFiles

__all__ = [
    "QuestionSet",
    "RunFiles",
    "Sharing",
    "Summary",
    "WorkFiles",
    "environment",
    "model_identity",
    "open_run",
    "read_rows",
    "request",
    "run",
    "run_sets",
    "to_row",
    "videos_root",
]
