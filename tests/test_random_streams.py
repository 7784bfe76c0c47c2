"""Random numbers come from numbered streams, and nowhere else from a seed with further numbers."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from norsim.errors import ConfigurationError
from norsim.random_streams import Stream, block, block_key, generator

PACKAGE = Path(__file__).resolve().parents[1] / "norsim"


def seeded_by_a_list(text: str) -> list[int]:
    """The lines on which a generator is seeded by a list or tuple that is written there."""
    calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    return [
        call.lineno
        for call in calls
        if ast.unparse(call.func).rpartition(".")[2] in ("default_rng", "SeedSequence", "RandomState")
        and any(isinstance(argument, ast.List | ast.Tuple) for argument in call.args)
    ]


def test_streams_have_numbers_of_their_own() -> None:
    numbers = [stream.value for stream in Stream.__members__.values()]
    assert len(set(numbers)) == len(numbers) == len(Stream)
    assert min(numbers) > 0


def test_only_the_module_of_streams_seeds_by_a_list() -> None:
    paths = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "random_streams.py")
    assert {str(path): lines for path in paths if (lines := seeded_by_a_list(path.read_text()))} == {}
    assert len(seeded_by_a_list((PACKAGE / "random_streams.py").read_text())) == 1


def test_lists_are_seen() -> None:
    assert seeded_by_a_list("x = np.random.default_rng([seed, 3])\ny = default_rng(0)\nz = default_rng((1, 2))") == [
        1,
        3,
    ]


def test_streams_are_independent_and_depend_on_the_seed() -> None:
    drawn = {(seed, stream, place): generator(seed, stream, place).random(4).tobytes()
             for seed in (0, 1) for stream in Stream for place in (0, 1)}  # fmt: skip
    assert len(set(drawn.values())) == len(drawn)
    again = generator(np.int64(1), Stream.READ_NOISE, 1).random(4)
    assert again.tobytes() == drawn[1, Stream.READ_NOISE, 1]


@pytest.mark.parametrize("seed", [-1, 0.5, "0", None])
def test_other_seeds_are_refused(seed: object) -> None:
    with pytest.raises(ConfigurationError, match="expected an integer of at least 0"):
        generator(seed, Stream.READ_NOISE)  # type: ignore[arg-type]


def test_blocks_are_counted_by_image_and_call() -> None:
    """Each has numbers of its own, and none runs into the next: a block has 2^64 counts, which the image is above."""
    key = block_key(0, Stream.READ_NOISE, 3)
    assert key.shape == (2,) and not np.array_equal(key, block_key(0, Stream.READ_NOISE, 4))
    places = [(image, call) for image in (0, 1, 10_000) for call in (0, 1)]
    drawn = {place: block(key, *place).random(64).tobytes() for place in places}
    assert len(set(drawn.values())) == len(places)
    assert (
        drawn[1, 0]
        == block(key, 1).random(64).tobytes()
        != block(block_key(1, Stream.READ_NOISE, 3), 1).random(64).tobytes()
    )
    state = block(key, 7, 2).bit_generator.state["state"]
    assert state["counter"].tolist() == [0, 2, 7, 0] and np.array_equal(state["key"], key)


def test_numbers_of_a_block_follow_each_other() -> None:
    """Drawn at once or in parts, in the type that noise is drawn in."""
    key = block_key(0, Stream.READ_NOISE)
    whole, parts = block(key, 5).standard_normal(300, dtype=np.float32), block(key, 5)
    found = [parts.standard_normal(count, dtype=np.float32) for count in (1, 2, 97, 200)]
    assert np.array_equal(np.concatenate(found), whole)
