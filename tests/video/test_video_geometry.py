"""What sizes a family's patches give."""

import pytest

from trlt.video.geometry import Geometry


@pytest.mark.parametrize(("patch", "side", "values"), [(14, 28, 1176), (16, 32, 1536)])
def test_sizes(patch: int, side: int, values: int) -> None:
    assert (Geometry(patch).side, Geometry(patch).values) == (side, values)
