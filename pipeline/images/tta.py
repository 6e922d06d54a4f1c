"""Test-time views: ways to look at an image, and how a map over one of them goes back.

A class needs no undoing, what is said of places does: a heat map over a mirrored view must be
mirrored before it is laid over the image.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.config.experiment import ImageConfig
from pipeline.images.decode import ByteImage
from pipeline.images.working_copy import working_side_px

FloatMap = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TtaView:
    """One way to look at an image: scaled, turned, cropped, mirrored, in this order.

    Attributes:
        zoom: Factor on the plain view's scale, 1 or more.
        degrees: Turn about the centre, counter-clockwise; edges are reflected.
        place: Where the crop lies, from (0, 0) at the top left to (1, 1) at the bottom right.
        is_mirrored: Left to right.
    """

    zoom: float = 1.0
    degrees: float = 0.0
    place: tuple[float, float] = (0.5, 0.5)
    is_mirrored: bool = False

    def augment(self, copy: ByteImage, images: ImageConfig) -> ByteImage:
        """Make the view, `(size_px, size_px, 3)`, of an image's working copy `(H, W, 3)`.

        Without changes it is the plain view, bit for bit.
        """
        height, width = self._scaled_shape(copy.shape[:2], images)
        scaled = copy
        if copy.shape[:2] != (height, width):
            scaled = _bytes(cv2.resize(copy, (width, height), interpolation=cv2.INTER_CUBIC))
        if self.degrees:
            turn = _turn(height, width, self.degrees)
            scaled = _bytes(
                cv2.warpAffine(
                    scaled,
                    turn,
                    (width, height),
                    flags=cv2.INTER_CUBIC,
                    borderMode=cv2.BORDER_REFLECT_101,
                )
            )
        top, left = self._corner(height, width, images.size_px)
        crop = scaled[top : top + images.size_px, left : left + images.size_px]
        return np.ascontiguousarray(crop[:, ::-1] if self.is_mirrored else crop)

    def undo(self, seen: FloatMap, shape: tuple[int, int], images: ImageConfig) -> FloatMap:
        """Lay a map over the view, `(size_px, size_px)`, back over the working copy.

        Args:
            seen: The map, or one channel of what `augment` made.
            shape: Height and width of the working copy.
            images: The working size.

        Returns:
            `(H, W)`; NaN where the view saw nothing.
        """
        height, width = self._scaled_shape(shape, images)
        top, left = self._corner(height, width, images.size_px)
        scaled = np.full((height, width), np.nan, dtype=np.float32)
        place = scaled[top : top + images.size_px, left : left + images.size_px]
        place[:] = seen[:, ::-1] if self.is_mirrored else seen
        if self.degrees:
            back = _turn(height, width, -self.degrees)
            scaled = np.asarray(
                cv2.warpAffine(scaled, back, (width, height), borderValue=np.nan), np.float32
            )
        if (height, width) != shape:
            scaled = np.asarray(cv2.resize(scaled, shape[::-1]), np.float32)
        return scaled

    def _scaled_shape(self, shape: tuple[int, ...], images: ImageConfig) -> tuple[int, int]:
        height, width = shape[:2]
        scale = round(working_side_px(images) * self.zoom) / min(height, width)
        return round(height * scale), round(width * scale)

    def _corner(self, height: int, width: int, size_px: int) -> tuple[int, int]:
        return int((height - size_px) * self.place[0]), int((width - size_px) * self.place[1])


def _turn(height: int, width: int, degrees: float) -> npt.NDArray[np.float64]:
    centre = ((width - 1) / 2, (height - 1) / 2)
    return np.asarray(cv2.getRotationMatrix2D(centre, degrees, 1.0), dtype=np.float64)


def _bytes(image: object) -> ByteImage:
    return np.asarray(image, dtype=np.uint8)


def _with_mirrored(*views: TtaView) -> tuple[TtaView, ...]:
    mirrored = (TtaView(one.zoom, one.degrees, one.place, is_mirrored=True) for one in views)
    return (*views, *mirrored)


CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))

# By name, the cheapest first; probabilities are averaged over the views of a policy.
POLICIES: dict[str, tuple[TtaView, ...]] = {
    "plain": (TtaView(),),
    "flip": _with_mirrored(TtaView()),
    "scales": _with_mirrored(*(TtaView(zoom=zoom) for zoom in (1.0, 1.15, 1.3))),
    "rotations": _with_mirrored(*(TtaView(degrees=degrees) for degrees in (-8.0, 0.0, 8.0))),
    "five-crops": _with_mirrored(
        TtaView(zoom=1.15), *(TtaView(zoom=1.15, place=corner) for corner in CORNERS)
    ),
}
