"""Decoding of PNG and JPEG images to pixels of one size, RGB or grey, which are kept on disk."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image, ImageFile, features

from norsim.caches.arrays import IMAGES, key_of
from norsim.data.dataset import Images
from norsim.errors import DataError
from norsim.paths import sources_digest

FORMATS = ("PNG", "JPEG")

# Modes whose conversion to RGB is exact; tools that compress files store a grey image as L or P.
_EXACT_MODES = frozenset({"1", "L", "P", "RGB"})
_GREY_MODES = frozenset({"1", "L"})
LARGEST_SIDE = 1024

# Part of every key: whatever decodes, as imported.
MADE_BY = (sources_digest("data"), PIL.__version__, *map(features.version, ("libjpeg_turbo", "jpg")))
# Fewer images are decoded faster than they are found on disk.
LEAST_KEPT = 500


class EncodedImage(NamedTuple):
    """The bytes of one image file, and their source for messages."""

    where: str
    content: bytes


class DecodedImages(NamedTuple):
    """Pixels uint8 [images, channels, height, width] of 0..255, and the FORMATS they were decoded from."""

    images: Images
    formats: frozenset[str]


class Form(NamedTuple):
    """The common form of a data set's images: width and height in pixels, and RGB or L (grey)."""

    width: int
    height: int
    mode: str = "RGB"

    @property
    def channels(self) -> int:
        """Return the number of channels, 3 or 1."""
        return 3 if self.mode == "RGB" else 1


def form_of(item: EncodedImage) -> Form:
    """Read the size of an image, and whether it is grey, from its header; DataError as for `decode`."""
    with opened(item, "") as image:
        width, height = image.size
        if max(width, height) > LARGEST_SIDE:
            raise DataError(f"{item.where}: the image has {width}x{height} pixels, expected at most {LARGEST_SIDE}.")
        return Form(width, height, "L" if image.mode in _GREY_MODES else "RGB")


def decode_rgb(encoded: Sequence[EncodedImage], side: int) -> DecodedImages:
    """Decode every image, each of side x side pixels, to RGB; DataError as for `decode`."""
    return decode(encoded, Form(side, side))


def decode(encoded: Sequence[EncodedImage], form: Form) -> DecodedImages:
    """Decode every image to `[images, channels, height, width]` of that form, or read the pixels of an earlier run,
    which are kept under the content of the images.

    Raises DataError naming the first image that is neither PNG nor JPEG, is damaged, has another size, or
    has a mode (such as one with transparency) that the form cannot represent exactly.
    """
    if len(encoded) < LEAST_KEPT:
        return _decoded(encoded, form)
    key = key_of(_digest(encoded), form, MADE_BY, ImageFile.LOAD_TRUNCATED_IMAGES)
    kept = IMAGES.get(key)
    if kept is not None:
        return DecodedImages(kept["pixels"], frozenset(map(str, kept["formats"])))
    found = _decoded(encoded, form)
    IMAGES.put(key, {"pixels": found.images, "formats": np.array(sorted(found.formats))})
    return found


def _digest(encoded: Sequence[EncodedImage]) -> str:
    """Return the SHA-256 of the bytes of all images."""
    found = hashlib.sha256()
    for item in encoded:
        found.update(len(item.content).to_bytes(8, "little"))
        found.update(item.content)
    return found.hexdigest()


def _decoded(encoded: Sequence[EncodedImage], form: Form) -> DecodedImages:
    # One thread: most of the time is spent in Pillow's Python code, so more threads were no faster.
    pixels = np.empty((len(encoded), form.height, form.width, form.channels), dtype=np.uint8)
    formats = set()
    for index, item in enumerate(encoded):
        with opened(item, f" of {form.width}x{form.height} pixels") as image:
            _check(image, form, item.where)
            exact = image if image.mode == form.mode else image.convert(form.mode)
            pixels[index] = np.frombuffer(exact.tobytes(), dtype=np.uint8).reshape(pixels.shape[1:])
            formats.add(str(image.format))
    return DecodedImages(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), frozenset(formats))


@contextmanager
def opened(item: EncodedImage, size: str) -> Iterator[Image.Image]:
    """Yield the image; `size` says in an error which size was expected. Raises DataError if it is unreadable."""
    try:
        with Image.open(io.BytesIO(item.content), formats=FORMATS) as image:
            yield image
    except DataError:
        raise
    # Each of Pillow's decoders raises its own exceptions on a damaged image.
    except Exception as cause:
        raise DataError(
            f"{item.where}: this is not a readable image ({type(cause).__name__}), expected a whole "
            f"{' or '.join(FORMATS)} file{size}, so fetch it again or remove it."
        ) from cause


def _check(image: Image.Image, form: Form, where: str) -> None:
    """Check only the header, so that an image of a wrong, perhaps huge, size is never decoded."""
    if image.size != (form.width, form.height):
        width, height = image.size
        raise DataError(
            f"{where}: the image has {width}x{height} pixels, expected {form.width}x{form.height}, "
            "so resize it or check that this is the right data set."
        )
    transparent = "transparency" in image.info
    if transparent or image.mode not in (_EXACT_MODES if form.mode == "RGB" else _GREY_MODES):
        kind = "8-bit RGB or grey without transparency, so convert it to RGB" if form.mode == "RGB" else (
            "8-bit grey as the first image of the training set, so convert it, or all others to RGB"
        )  # fmt: skip
        raise DataError(
            f"{where}: the image has mode {image.mode}{' with transparency' if transparent else ''}, expected {kind}."
        )
