"""The one form in which norsim holds a data set: integer pixels, integer labels, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from norsim.errors import DataError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

SPLITS = ("train", "test")


# eq=False: comparing two arrays gives an array, so a generated __eq__ would raise instead of answering.
@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a labelled image data set, checked once when it is built.

    Fields:
        name: what the user calls the data set, for example `cifar10`.
        split: which part of it this is, for example `test`.
        images: uint8 [images, channels, height, width], raw pixel values 0..full_scale.
        labels: int64 [images], each an index into `classes`.
        classes: the class names, in label order.
        full_scale: the pixel value that means 1.0 (255 for CIFAR-10, 16 for digits).
        source: one line that says which copy of the data this is, for result files.

    Raises DataError where a shape, a dtype, a label or a pixel does not fit that description.
    """

    name: str
    split: str
    images: Images
    labels: Labels
    classes: tuple[str, ...]
    full_scale: int
    source: str

    def __post_init__(self) -> None:
        """Check every field against every other; raises DataError."""
        self._check_images()
        self._check_labels()
        if not self.source or "\n" in self.source:
            raise DataError(f"{self._title()}: source is {self.source!r}, expected one line of text.")

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.images)

    def take(self, count: int, generator: np.random.Generator | None = None) -> Dataset:
        """A data set of `count` of these images, with the same name, split, classes and source.

        Without a generator these are the first `count` images. With one they are a random subset, drawn
        without replacement and kept in their original order; an equally seeded generator draws the same
        subset. Raises DataError where count is below 1 or above the number of images.
        """
        if not 1 <= count <= len(self):
            raise DataError(
                f"{self._title()}: {count} images were asked for and there are {len(self)}, ask for 1 to {len(self)}."
            )
        if generator is None:
            return replace(self, images=self.images[:count], labels=self.labels[:count])
        chosen = np.sort(generator.choice(len(self), size=count, replace=False))
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

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
                f"{self._title()}: images have shape {self.images.shape} and hold nothing, expected at least "
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
    """Raise DataError where `split` is not one of SPLITS; `name` is the data set that was asked for it."""
    if split not in SPLITS:
        raise DataError(f"data set {name!r} has no split {split!r}, so ask for one of {', '.join(SPLITS)}.")
