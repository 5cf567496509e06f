"""Where things lie, whatever folder a test stands in."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SHARED = ROOT.parent / "shared"
"""Real annotation, videos and small files that were once read wrongly; perhaps not there."""
