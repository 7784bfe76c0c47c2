"""The representation of a data set: integer pixels, integer labels and their source."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from norsim.data.inputs.choice import Indices, check_count, draw
from norsim.errors import DataError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

SPLITS = ("train", "test")


# eq=False: a generated __eq__ would raise, because comparing two arrays returns an array.
@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a labelled image data set, validated at construction.

    Fields:
        name: the data set's name, for example `cifar10`.
        split: the part of it, for example `test`.
        images: uint8 [images, channels, height, width], raw pixel values 0..full_scale.
        labels: int64 [images], each an index into `classes`.
        classes: the class names, in label order.
        full_scale: the pixel value that means 1.0 (255 for CIFAR-10, 16 for digits).
        source: one line that identifies this copy of the data in result files.
        available: the number of images of the split, of which these are all or some; 0 for all.

    Raises DataError if a shape, a dtype, a label or a pixel does not match this description.
    """

    name: str
    split: str
    images: Images
    labels: Labels
    classes: tuple[str, ...]
    full_scale: int
    source: str
    available: int = 0

    def __post_init__(self) -> None:
        """Check every field against every other; raises DataError."""
        self._check_images()
        self._check_labels()
        if not self.source or "\n" in self.source:
            raise DataError(f"{self._title()}: source is {self.source!r}, expected one line of text.")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def take(self, count: int, generator: np.random.Generator | None = None) -> Dataset:
        """Return a data set of `count` of these images, with the same name, split, classes and source.

        Without a generator these are the first `count` images; with one they are a random subset in the original
        order, drawn without replacement, the same one for the same seed. Raises DataError if count is below 1 or above
        the number of images.
        """
        check_count(count, len(self), f"{self._title()}: ")
        if generator is None:
            return replace(
                self, images=self.images[:count], labels=self.labels[:count], available=self.available or len(self)
            )
        return self.chosen(draw(count, len(self), generator))

    def chosen(self, indices: Indices) -> Dataset:
        """Return the images with these indices `[chosen]`, of the same split."""
        return replace(
            self, images=self.images[indices], labels=self.labels[indices], available=self.available or len(self)
        )

    def digests(self) -> npt.NDArray[np.uint32]:
        """Return a hash of each image with its label, uint32 `[images]`."""
        pairs = zip(self.images, self.labels, strict=True)
        found = [hashlib.sha256(image.tobytes() + label.tobytes()).digest()[:4] for image, label in pairs]
        return np.frombuffer(b"".join(found), "<u4").astype(np.uint32)

    def _title(self) -> str:
        return f"data set {self.name!r}, split {self.split!r}"

    def _check_images(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise DataError(
                f"{self._title()}: images are {self.images.dtype} of shape {self.images.shape}, "
                "expected uint8 of shape [images, channels, height, width]."
            )
        if self.images.size == 0:
            raise DataError(
                f"{self._title()}: images have shape {self.images.shape} and are empty, expected at least "
                "one image of at least one pixel, so check the data that was read."
            )
        if not 1 <= self.full_scale <= 255 or self.images.max() > self.full_scale:
            raise DataError(
                f"{self._title()}: the largest pixel is {self.images.max()} with a full scale of "
                f"{self.full_scale}, expected pixels of 0 to full_scale and a full_scale of 1 to 255."
            )

    def _check_labels(self) -> None:
        if self.labels.dtype != np.int64 or self.labels.shape != (len(self.images),):
            raise DataError(
                f"{self._title()}: labels are {self.labels.dtype} of shape {self.labels.shape}, "
                f"expected int64 of shape ({len(self.images)},), one for each image."
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            raise DataError(
                f"{self._title()}: labels run from {low} to {high}, "
                f"expected 0 to {len(self.classes) - 1} for its {len(self.classes)} classes."
            )


def check_split(name: str, split: str) -> None:
    """Raise DataError if `split` is not one of SPLITS; `name` is that of the data set."""
    if split not in SPLITS:
        raise DataError(f"data set {name!r} has no split {split!r}, expected one of {', '.join(SPLITS)}.")
