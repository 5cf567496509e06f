"""Annotation becomes a clean training set: read, repaired, compared with benchmarks and other sources, fitted to its videos.

Everything that is left out is counted with its reason and an example; what is kept after a repair says so in `meta.flags`.
"""

from trlt.preparation.duplicates import KeptQuestions
from trlt.preparation.folder import source_files, write_sources
from trlt.preparation.leakage import Leaks, benchmark_keys, benchmark_places
from trlt.preparation.pool import Prepared, Rules, several_spans
from trlt.preparation.pool import prepare as prepare_source
from trlt.preparation.statistics import SampleStatistics

__all__ = [
    "KeptQuestions",
    "Leaks",
    "Prepared",
    "Rules",
    "SampleStatistics",
    "benchmark_keys",
    "benchmark_places",
    "prepare_source",
    "several_spans",
    "source_files",
    "write_sources",
]
