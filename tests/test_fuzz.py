"""Readers of untrusted files, with valid examples and many mutations: they return a result or raise an error of
norsim."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from fuzz.choices import NoAnswerError
from fuzz.targets import TARGETS
from norsim.errors import NorsimError

CHANGES = 150
# Targets that run ngspice on each input.
FEW = {"kit": 15}


def changed(content: bytes, random: np.random.Generator) -> bytes:
    """Return `content` with some bytes changed, or a part removed, doubled or replaced by noise."""
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


HEADER = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3".ljust(117) + b"\n"
# Inputs that once caused another exception.
FILES = Path(__file__).parent / "found"
FOUND = [
    ("vectors", b"\x93NUMPY\x01\x00" + len(HEADER).to_bytes(2, "little") + HEADER + b"\1\2\3"),
    *((path.name.partition("-")[0], path.read_bytes()) for path in sorted(FILES.iterdir())),
]


@pytest.mark.parametrize(("name", "content"), FOUND)
def test_earlier_findings_raise_an_error_of_norsim(name: str, content: bytes) -> None:
    with pytest.raises(NorsimError):
        TARGETS[name].read(content)


@pytest.mark.parametrize("name", TARGETS)
def test_examples_are_read(name: str) -> None:
    seeds = TARGETS[name].seeds()
    assert seeds
    for content in seeds:
        # The infinite include of the second source, and scalars that a key does not take, are reported as such.
        with contextlib.suppress(NorsimError) if name in ("source", "scalars") else contextlib.nullcontext():
            TARGETS[name].read(content)


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_files_give_a_result_or_an_error_of_norsim(name: str) -> None:
    random = np.random.default_rng([3, *name.encode()])
    seeds = TARGETS[name].seeds()
    for number in range(FEW.get(name, CHANGES)):
        with contextlib.suppress(NorsimError, NoAnswerError):
            TARGETS[name].read(changed(seeds[number % len(seeds)], random))
