"""Turns annotation into a clean training set: read, repaired, compared with benchmarks and other sources, fitted to its videos.

Everything left out is counted with its reason and an example; repaired samples are flagged in `meta.flags`.
"""

from trlt.data.preparation.duplicates import KeptQuestions
from trlt.data.preparation.leakage import Leaks, benchmark_keys, benchmark_places
from trlt.data.preparation.overlap import Overlap, overlaps, readable_leaks, training_places
from trlt.data.preparation.prepare_source import Prepared, Rules, several_spans
from trlt.data.preparation.prepare_source import prepare as prepare_source
from trlt.data.preparation.statistics import SampleStatistics
from trlt.data.preparation.write_pool import source_files, write_sources

__all__ = [
    "KeptQuestions",
    "Leaks",
    "Overlap",
    "Prepared",
    "Rules",
    "SampleStatistics",
    "benchmark_keys",
    "benchmark_places",
    "overlaps",
    "prepare_source",
    "readable_leaks",
    "several_spans",
    "source_files",
    "training_places",
    "write_sources",
]
