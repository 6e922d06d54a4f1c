"""Draw augmentations whose kinds and strengths nobody tunes: RandAugment, TrivialAugment, AugMix.

Operations, ranges and defaults are torchvision's, pixel for pixel those of its Pillow functions;
what is drawn comes from the streams of Albumentations, as for all other transforms.
"""

from collections.abc import Callable
from typing import Any

import albumentations as A
import numpy as np
import numpy.typing as npt
from albumentations.core.transforms_interface import BaseTransformInitSchema
from PIL import Image, ImageEnhance, ImageOps

from pipeline.images.decode import ByteImage

Picture = Image.Image
Numbers = npt.NDArray[Any]
# Name → strengths from weak to strong, and whether either sign may be drawn; None has no strength.
Space = dict[str, tuple[Numbers | None, bool]]


def _affine(*matrix: float) -> Callable[[Picture], Picture]:
    return lambda image: image.transform(image.size, Image.Transform.AFFINE, matrix)


OPERATIONS: dict[str, Callable[[Picture, float], Picture]] = {
    "Identity": lambda image, _: image,
    "ShearX": lambda image, by: _affine(1, by, 0, 0, 1, 0)(image),
    "ShearY": lambda image, by: _affine(1, 0, 0, by, 1, 0)(image),
    "TranslateX": lambda image, by: _affine(1, 0, -int(by), 0, 1, 0)(image),
    "TranslateY": lambda image, by: _affine(1, 0, 0, 0, 1, -int(by))(image),
    "Rotate": lambda image, degrees: image.rotate(degrees),
    "Brightness": lambda image, by: ImageEnhance.Brightness(image).enhance(1 + by),
    "Color": lambda image, by: ImageEnhance.Color(image).enhance(1 + by),
    "Contrast": lambda image, by: ImageEnhance.Contrast(image).enhance(1 + by),
    "Sharpness": lambda image, by: ImageEnhance.Sharpness(image).enhance(1 + by),
    "Posterize": lambda image, bits: ImageOps.posterize(image, int(bits)),
    "Solarize": lambda image, threshold: ImageOps.solarize(image, threshold),  # type: ignore[arg-type]
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
}


def apply_operation(pixels: ByteImage, name: str, strength: float) -> ByteImage:
    """Apply one operation, `(H, W, 3)` uint8 in and out; what is moved in from outside is black."""
    return np.asarray(OPERATIONS[name](Image.fromarray(pixels), strength), dtype=np.uint8)


def space(
    num_bins: int, most: float, shifts_px: tuple[float, float], degrees: float, bits: Numbers
) -> Space:
    """Return operations with strengths.

    Args:
        num_bins: How many strengths.
        most: Of shearing; colours go to at least 0.9.
        shifts_px: The greatest along x and y.
        degrees: The greatest.
        bits: Which posterising leaves.
    """

    def up_to(highest: float) -> Numbers:
        return np.linspace(0.0, highest, num_bins)

    colours = max(most, 0.9)
    return {
        "Identity": (None, False),
        "ShearX": (up_to(most), True),
        "ShearY": (up_to(most), True),
        "TranslateX": (up_to(shifts_px[0]), True),
        "TranslateY": (up_to(shifts_px[1]), True),
        "Rotate": (up_to(degrees), True),
        "Brightness": (up_to(colours), True),
        "Color": (up_to(colours), True),
        "Contrast": (up_to(colours), True),
        "Sharpness": (up_to(colours), True),
        "Posterize": (bits, False),
        "Solarize": (up_to(255.0)[::-1], False),
        "AutoContrast": (None, False),
        "Equalize": (None, False),
    }


class _Drawn(A.ImageOnlyTransform):  # type: ignore[misc]
    """Base of what draws operations; Albumentations' streams draw them."""

    def _draw(self, image: ByteImage, operations: Space, bins: range) -> ByteImage:
        """Apply one operation at one of the strengths with the numbers `bins`."""
        name = self.py_random.choice(list(operations))
        strengths, is_signed = operations[name]
        strength = 0.0 if strengths is None else float(strengths[self.py_random.choice(bins)])
        if is_signed and self.py_random.random() < 0.5:
            strength = -strength
        return apply_operation(image, name, strength)


class RandAugment(_Drawn):
    """A few operations, one after the other, all of one strength (Cubuk et al. 2020).

    Args:
        num_ops: How many.
        magnitude: Their strength, of 0 to `num_magnitude_bins` - 1.
        num_magnitude_bins: How many strengths there are.
        p: Probability.
    """

    class InitSchema(BaseTransformInitSchema):  # type: ignore[misc]
        """Checked by Albumentations."""

        num_ops: int
        magnitude: int
        num_magnitude_bins: int

    def __init__(
        self, num_ops: int = 2, magnitude: int = 9, num_magnitude_bins: int = 31, p: float = 1.0
    ) -> None:
        super().__init__(p=p)
        if not (num_ops > 0 and 0 <= magnitude < num_magnitude_bins and num_magnitude_bins > 1):
            raise ValueError("num_ops must be 1 at least, magnitude one of num_magnitude_bins")
        self.num_ops = num_ops
        self.magnitude = magnitude
        self.num_magnitude_bins = num_magnitude_bins

    def apply(self, img: ByteImage, **_: Any) -> ByteImage:
        """Draw and apply."""
        height, width = img.shape[:2]
        bins = self.num_magnitude_bins
        bits = 8 - np.round(np.arange(bins) / ((bins - 1) / 4))
        shifts = (150 / 331 * width, 150 / 331 * height)
        operations = space(bins, 0.3, shifts, 30.0, bits)
        for _number in range(self.num_ops):
            img = self._draw(img, operations, range(self.magnitude, self.magnitude + 1))
        return img


class TrivialAugment(_Drawn):
    """One operation of any strength, wide ranges (Müller and Hutter 2021, TrivialAugmentWide).

    Args:
        num_magnitude_bins: How many strengths there are.
        p: Probability.
    """

    class InitSchema(BaseTransformInitSchema):  # type: ignore[misc]
        """Checked by Albumentations."""

        num_magnitude_bins: int

    def __init__(self, num_magnitude_bins: int = 31, p: float = 1.0) -> None:
        super().__init__(p=p)
        if num_magnitude_bins < 2:
            raise ValueError("num_magnitude_bins must be 2 at least")
        self.num_magnitude_bins = num_magnitude_bins

    def apply(self, img: ByteImage, **_: Any) -> ByteImage:
        """Draw and apply."""
        bins = self.num_magnitude_bins
        bits = 8 - np.round(np.arange(bins) / ((bins - 1) / 6))
        return self._draw(img, space(bins, 0.99, (32.0, 32.0), 135.0, bits), range(bins))


class AugMix(_Drawn):
    """A mean of the image and of chains of operations, with drawn weights (Hendrycks et al. 2020).

    Args:
        severity: Strengths are drawn from the weakest so many of 10.
        mixture_width: How many chains.
        chain_depth: Operations of each; -1 draws 1 to 3.
        alpha: Of the distributions of the weights.
        p: Probability.
    """

    class InitSchema(BaseTransformInitSchema):  # type: ignore[misc]
        """Checked by Albumentations."""

        severity: int
        mixture_width: int
        chain_depth: int
        alpha: float

    def __init__(
        self,
        severity: int = 3,
        mixture_width: int = 3,
        chain_depth: int = -1,
        alpha: float = 1.0,
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        if not (1 <= severity <= 10 and mixture_width > 0 and alpha > 0):
            raise ValueError("severity must be 1 to 10, mixture_width and alpha above 0")
        self.severity = severity
        self.mixture_width = mixture_width
        self.chain_depth = chain_depth
        self.alpha = alpha

    def apply(self, img: ByteImage, **_: Any) -> ByteImage:
        """Draw and apply."""
        height, width = img.shape[:2]
        bits = 4 - np.round(np.arange(10) / (9 / 4))
        operations = space(10, 0.3, (height / 3, width / 3), 30.0, bits)
        del operations["Identity"]
        draw = self.random_generator
        own, others = draw.dirichlet([self.alpha] * 2)
        weights = draw.dirichlet([self.alpha] * self.mixture_width) * others
        mixed = own * img.astype(np.float32)
        for weight in weights:
            chain = img
            depth = self.chain_depth if self.chain_depth > 0 else self.py_random.randint(1, 3)
            for _number in range(depth):
                chain = self._draw(chain, operations, range(self.severity))
            mixed += weight * chain
        pixels: ByteImage = mixed.astype(np.uint8)
        return pixels


# By the names that recipes use; torchvision calls Albumentations' Erasing RandomErasing.
BY_NAME: dict[str, Any] = {
    "RandAugment": RandAugment,
    "TrivialAugment": TrivialAugment,
    "TrivialAugmentWide": TrivialAugment,
    "AugMix": AugMix,
    "RandomErasing": A.Erasing,
}
