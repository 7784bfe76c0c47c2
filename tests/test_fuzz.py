"""The readers of files from elsewhere, on their own examples and on many changes of them: an error of norsim's, or a
result."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from fuzz.targets import TARGETS
from norsim.errors import NorsimError

CHANGES = 150


def changed(content: bytes, random: np.random.Generator) -> bytes:
    """`content` with some bytes changed, a part left out, doubled or replaced by noise."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        start = int(random.integers(0, max(len(data), 1)))
        end = start + int(random.integers(1, 40))
        kind = random.integers(0, 5)
        if kind == 0:
            data[start:end] = random.bytes(len(data[start:end]))
        elif kind == 1:
            del data[start:end]
        elif kind == 2:
            data[start:start] = data[start:end] * int(random.integers(1, 4))
        elif kind == 3:
            del data[start:]
        elif data:
            data[start] = random.choice([0, 1, 10, 13, 32, 34, 127, 128, 255])
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_examples_are_read(name: str) -> None:
    seeds = TARGETS[name].seeds()
    assert seeds
    for content in seeds:
        # The endless include of the second example, and a unit without its checksum, are told as such.
        with contextlib.suppress(NorsimError) if name == "source" else contextlib.nullcontext():
            TARGETS[name].read(content)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files_end_in_a_result_or_an_error_of_norsim(name: str) -> None:
    random = np.random.default_rng([3, *name.encode()])
    seeds = TARGETS[name].seeds()
    for number in range(CHANGES):
        with contextlib.suppress(NorsimError):
            TARGETS[name].read(changed(seeds[number % len(seeds)], random))
