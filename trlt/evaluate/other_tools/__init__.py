"""Outputs that lmms-eval or VLMEvalKit logged, as predictions for our questions.

`files` opens a file or folder of either tool, `rows` reads what a row says about its question, and `match` finds that question.
Neither tool writes our ids. A row without one belongs to the question that it quotes, and to none if it might be several.
"""

from trlt.evaluate.other_tools.files import is_ours, log_files, read_logs
from trlt.evaluate.other_tools.match import Matched, match

__all__ = ["Matched", "is_ours", "log_files", "match", "read_logs"]
