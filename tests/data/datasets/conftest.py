from __future__ import annotations

from pathlib import Path

import pytest
from paths import SHARED


@pytest.fixture
def annotations() -> Path:
    """The real annotation files, which stand beside a checkout in some places only."""
    folder = SHARED / "data" / "annotations"
    if not folder.is_dir():
        pytest.skip(f"no real annotation files in {folder}")
    return folder
