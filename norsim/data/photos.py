"""Photos of any size as images of one size, as public networks expect them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from norsim.caches.arrays import IMAGES, key_of
from norsim.data.dataset import Images
from norsim.data.decoding import LEAST_KEPT, MADE_BY, EncodedImage, opened


@dataclass(frozen=True)
class Transform:
    """A way from photos to images of `side` x `side` pixels: the shorter side is resized to `shorter` pixels
    (bilinear, with antialiasing), and the middle is cut out. `mean` and `std` `[channels]` normalise images of 0 to 1.
    """

    name: str
    shorter: int
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


# What torchvision's weights for ImageNet are evaluated with: `ImageClassification(crop_size=224)`.
TRANSFORMS = {"imagenet": Transform("imagenet", 256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}


def prepared(encoded: Sequence[EncodedImage], transform: Transform) -> Images:
    """Return photos, PNG or JPEG in any mode, as `[images, 3, side, side]` of 0 to 255; many are kept on disk.

    Raises DataError naming the first that is no readable image.
    """
    if len(encoded) < LEAST_KEPT:
        return _prepared(encoded, transform)
    content = hashlib.sha256()
    for item in encoded:
        content.update(hashlib.sha256(item.content).digest())
    key = key_of(content.hexdigest(), transform, MADE_BY)
    kept = IMAGES.get(key)
    if kept is not None:
        return kept["pixels"]
    found = _prepared(encoded, transform)
    IMAGES.put(key, {"pixels": found})
    return found


def _prepared(encoded: Sequence[EncodedImage], transform: Transform) -> Images:
    pixels = np.empty((len(encoded), 3, transform.side, transform.side), np.uint8)
    for index, item in enumerate(encoded):
        with opened(item, "") as image:
            pixels[index] = np.asarray(_cut(image.convert("RGB"), transform)).transpose(2, 0, 1)
    return pixels


def _cut(image: Image.Image, transform: Transform) -> Image.Image:
    """Return the middle of a resized photo. Sizes and places are rounded as in torchvision."""
    width, height = image.size
    shorter, longer = min(width, height), max(width, height)
    other = int(transform.shorter * longer / shorter)
    size = (transform.shorter, other) if width <= height else (other, transform.shorter)
    resized = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (round((length - transform.side) / 2) for length in size)
    return resized.crop((left, top, left + transform.side, top + transform.side))
