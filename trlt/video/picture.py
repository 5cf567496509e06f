"""A decoded frame as a player shows it: RGB, upright, opaque, without combs, resized. Knows PyAV frames, not files."""

from __future__ import annotations

from typing import Any

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from trlt.video.budget import Budget, fit_size
from trlt.video.geometry import Geometry
from trlt.video.resize import resize

SQUARE = 0.02
"""Pixels this close to square are taken as square: such ratios come from rounding, and the model family ignores all of them."""
WHITE = 255
"""What is seen through transparent pixels: what the family puts behind images, and FFmpeg behind gifs."""
UNNAMED = 64
"""Kinds of side data have numbers below this; FFmpeg has 35 of them, PyAV names the first 28."""

Image = NDArray[np.uint8]


class Painter:
    """Turns decoded frames into arrays of one size."""

    def __init__(self, budget: Budget | None, count: int, pixel_aspect: float = 1.0, geometry: Geometry = Geometry()) -> None:
        """What all frames of a clip have in common.

        Args:
            budget: None keeps the frames' own size.
            count: Frames that share the budget.
            pixel_aspect: Width of a pixel over its height.
            geometry: Of the model; its `side` divides the sides of what a budget resizes.
        """
        self._budget = budget
        self._count = count
        self._geometry = geometry
        self._aspect = pixel_aspect if pixel_aspect > 0 and abs(pixel_aspect - 1) > SQUARE else 1.0
        self._size: tuple[int, int] | None = None
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Any) -> Image:
        """(C, H, W) RGB; a file whose size changes on the way keeps the size of the first frame painted.

        Raises:
            ValueError: the frame is too elongated.
        """
        turned = matrix(frame)
        rgb = upright(self._rgb(progressive(frame) if frame.interlaced_frame else frame), turned)
        height, width = float(rgb.shape[0]), float(rgb.shape[1])
        if _on_its_side(turned):
            height *= self._aspect
        else:
            width *= self._aspect
        if self._size is None:
            self._size = rgb.shape[0], rgb.shape[1]
            if self._budget:
                self._size = fit_size(height, width, self._count, self._budget, self._geometry)
        return resize(rgb, *self._size)

    def _rgb(self, frame: Any) -> Image:
        alpha = any(component.is_alpha for component in frame.format.components) or frame.format.has_palette
        # Only colour planes that are smaller than the picture are enlarged here; FFmpeg's fast way for 8 bits takes the nearest
        # sample whatever it is asked for, so deeper pictures get the same.
        picture = self._reformatter.reformat(
            frame, format="rgba" if alpha else "rgb24", interpolation=Interpolation.POINT, threads=1
        )
        pixels: NDArray[Any] = picture.to_ndarray()
        return opaque(pixels) if alpha else pixels


def opaque(rgba_HWC: Image) -> Image:
    """(H, W, 3): the picture in front of white."""
    if rgba_HWC[..., 3].min() == 255:
        return np.ascontiguousarray(rgba_HWC[..., :3])
    alpha = rgba_HWC[..., 3:].astype(np.uint16)
    mixed: Image = ((rgba_HWC[..., :3] * alpha + WHITE * (255 - alpha) + 127) // 255).astype(np.uint8)
    return mixed


def matrix(frame: Any) -> NDArray[np.int32]:
    """(2, 2): the display matrix [[a, b], [c, d]] of a frame; a pixel at (x, y) is shown at (ax + cy, bx + dy)."""
    data = _side_data(frame).get("DISPLAYMATRIX")
    if data is None or len(bytes(data)) != 36:
        return np.eye(2, dtype=np.int32)
    return np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2]


def _side_data(frame: Any) -> Any:
    """What lies beside a frame's pixels, by PyAV's names.

    One kind of a number that PyAV has no name for (EXIF) would hide all others: then such kinds are taken off first.
    """
    try:
        return frame.side_data
    except ValueError:
        unnamed = set(range(UNNAMED)) - {kind.value for kind in Type}
        return _filtered(frame, *(("sidedata", f"mode=delete:type={number}") for number in sorted(unnamed))).side_data


def upright(image_HWC: Image, turned: NDArray[np.int32]) -> Image:
    """The image turned and mirrored as its display matrix says, to the nearest quarter turn."""
    (a, b), (c, d) = turned.tolist()
    if _on_its_side(turned):
        image, rows, columns = image_HWC.transpose(1, 0, 2), b, c
    else:
        image, rows, columns = image_HWC, d, a
    if (rows, columns) == (d, a) and rows >= 0 and columns >= 0:
        return image_HWC
    return np.ascontiguousarray(image[:: -1 if rows < 0 else 1, :: -1 if columns < 0 else 1])


def _on_its_side(turned: NDArray[np.int32]) -> bool:
    (a, b), (c, d) = np.abs(turned.astype(np.int64)).tolist()
    return bool(b + c > a + d)


def progressive(frame: Any) -> Any:
    """The frame without combs: the lines of one field, those between drawn along the edges.

    Looks at this frame alone, so that its neighbours needn't be decoded.
    """
    return _filtered(frame, ("estdif", "mode=frame:deint=interlaced"))


def _filtered(frame: Any, *filters: tuple[str, str]) -> Any:
    """A frame behind filters of FFmpeg, each by name and options."""
    graph = Graph()
    source = graph.add_buffer(
        template=None, width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    steps = [source, *(graph.add(name, options) for name, options in filters), graph.add("buffersink")]
    for first, second in zip(steps, steps[1:], strict=False):
        first.link_to(second)
    graph.configure()
    graph.push(frame)
    graph.push(None)
    return graph.pull()
