"""Runs -> one HTML page that opens from disk: metrics, curves, histograms, and a browser of samples.

The page is one file without a server, a network or a library: styles and script are inline, and its policy blocks everything
else. Every text from annotation or a model is escaped on its way in, and shown as text by the script.
"""

from trlt.report.page.build import Page, write_page
from trlt.report.page.questions import RowIndex, RunRows, ShownSample
from trlt.report.page.training import Training

__all__ = ["Page", "RowIndex", "RunRows", "ShownSample", "Training", "write_page"]
