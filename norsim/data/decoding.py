"""Turns encoded PNG and JPEG images into RGB pixels of one size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from norsim.data.dataset import Images
from norsim.errors import DataError

FORMATS = ("PNG", "JPEG")

# The modes whose conversion to RGB keeps every value; tools that shrink files store a grey image as L or P.
_EXACT_MODES = frozenset({"1", "L", "P", "RGB"})


class EncodedImage(NamedTuple):
    """The bytes of one image file, and where they come from, for messages."""

    where: str
    content: bytes


class DecodedImages(NamedTuple):
    """Pixels uint8 [images, 3, side, side] of 0..255, and which of FORMATS they were decoded from."""

    images: Images
    formats: frozenset[str]


def decode_rgb(encoded: Sequence[EncodedImage], side: int) -> DecodedImages:
    """Decode every image, each of side x side pixels, to RGB.

    Raises DataError, naming the first image at fault, where one is neither PNG nor JPEG, is damaged, has
    another size, or has a mode (such as one with transparency) that RGB cannot hold exactly.
    """
    # One thread: most of the time is spent in Pillow's Python code, so that more threads were no faster.
    pixels = np.empty((len(encoded), side, side, 3), dtype=np.uint8)
    formats = set()
    for index, item in enumerate(encoded):
        pixels[index], kind = _decode(item, side)
        formats.add(kind)
    return DecodedImages(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), frozenset(formats))


def _decode(item: EncodedImage, side: int) -> tuple[Images, str]:
    try:
        with Image.open(io.BytesIO(item.content), formats=FORMATS) as image:
            _check(image, side, item.where)
            rgb = image if image.mode == "RGB" else image.convert("RGB")
            return np.frombuffer(rgb.tobytes(), dtype=np.uint8).reshape(side, side, 3), str(image.format)
    except DataError:
        raise
    # A damaged image may raise any exception: each of Pillow's decoders has its own.
    except Exception as cause:
        raise DataError(
            f"{item.where}: this is not a readable image ({type(cause).__name__}), expected a whole "
            f"{' or '.join(FORMATS)} file of {side}x{side} pixels, so fetch it again or remove it."
        ) from cause


def _check(image: Image.Image, side: int, where: str) -> None:
    """Check the header alone, so that an image of a wrong, perhaps huge, size is never decoded."""
    if image.size != (side, side):
        width, height = image.size
        raise DataError(
            f"{where}: the image has {width}x{height} pixels, expected {side}x{side}, "
            "so resize it or check that this is the right data set."
        )
    transparent = "transparency" in image.info
    if transparent or image.mode not in _EXACT_MODES:
        raise DataError(
            f"{where}: the image has mode {image.mode}{' with transparency' if transparent else ''}, "
            "expected 8-bit RGB or grey without transparency, so convert it to RGB."
        )
