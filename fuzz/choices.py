"""Choices made by the bytes of a fuzz input, so that the guidance of coverage reaches structured inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class NoAnswerError(Exception):
    """The program to compare with gave no answer for an input, so the input tests little."""


class Choices:
    """Successive choices; once the bytes are used up, the first alternative is chosen."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def below(self, count: int) -> int:
        """Return a number below `count`, at most 256; 0 if that is 0."""
        byte = self.content[self.place] if self.place < len(self.content) else 0
        self.place += 1
        return byte % max(count, 1)

    def one(self, values: Sequence[T]) -> T:
        """Return one of the values."""
        return values[self.below(len(values))]
