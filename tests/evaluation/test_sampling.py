"""Reads are kept with the probabilities that the proof states, whoever observed them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.chip.load import load_chip
from norsim.chip.model import Chip
from norsim.evaluation.proof.sampling import Drawn, KeptReads, Quota, Sampler, drawn, drawn_of_passes, pass_of, tile_of
from norsim.quantization.layer import QuantizedLayer
from norsim.quantization.quantize import quantize
from norsim.tiling.convert import convert
from norsim.tiling.grid import TileGrid, place
from norsim.tiling.modules import layer_codes, tiled_layers
from norsim.tiling.tile import TileRead
from norsim.zoo.registry import build
from tests.conftest import reader_by

Solver = Callable[[Tile, Stimulus], Currents]


def fake_read(vectors: int, passes: int, outputs: int) -> TileRead:
    """Return a read without currents, of any size and no memory."""
    nothing = np.broadcast_to(np.float32(0), (vectors, passes, outputs))
    return TileRead(nothing, nothing, np.empty((vectors, 0)))


def observe_all(sampler: Sampler, layers: list[tuple[TileGrid, int]]) -> None:
    """Let a sampler observe `vectors` vectors of each layer, in two parts as `macro` reads them."""
    for grid, vectors in layers:
        passes = grid.chip.encoding.passes(grid.layer.input_bits)
        for part in grid.tiles:
            for some in (vectors // 3, vectors - vectors // 3):
                codes = np.broadcast_to(np.uint8(0), (some, grid.layer.vector_length))
                sampler.observe(part, None, codes, fake_read(some, passes, 1))  # type: ignore[arg-type]


def reads_of(layers: list[tuple[TileGrid, int]]) -> dict[str, int]:
    return {
        part.name: vectors * grid.chip.encoding.passes(grid.layer.input_bits)
        for grid, vectors in layers
        for part in grid.tiles
    }


# Width, and number of layers on the array.
NETWORKS = {"resnet20": (1.0, 20), "alexnet": (0.5, 8), "vgg16": (0.25, 14)}
REPETITIONS = 100


@pytest.fixture(scope="module")
def networks() -> dict[str, list[tuple[TileGrid, int]]]:
    """Return the tiles of networks on the preset chip, and each layer's vectors of one image; no circuit."""
    found = {}
    for name, (width, _) in NETWORKS.items():
        model = convert(quantize(build(name, width).eval(), [torch.zeros(2, 3, 32, 32)]), load_chip("etox65"))
        codes = layer_codes(model, torch.zeros(1, 3, 32, 32))
        found[name] = [(layer.grid, len(codes[layer_name])) for layer_name, layer in tiled_layers(model).items()]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_tile_layer_and_pass_is_sampled_with_its_stated_probability(
    networks: dict[str, list[tuple[TileGrid, int]]], name: str
) -> None:
    """The true numbers of tiles and reads of an image, and the keys of 100 seeds."""
    layers, quota = networks[name], Quota(at_random=59)
    assert len(layers) == NETWORKS[name][1]
    reads = reads_of(layers)
    total, spice, of_sample = sum(reads.values()), Counter[str](), Counter[str]()
    of_pass: Counter[int] = Counter()
    for seed in range(REPETITIONS):
        sampler = Sampler(quota, seed)
        observe_all(sampler, layers)
        kept = sampler.kept()
        per_tile = Counter(read.part.name for read in drawn(kept, 4, tile_of))
        assert per_tile == {tile: min(4, count) for tile, count in reads.items()}
        chosen = drawn_of_passes(kept, 1)
        passes = {pass_of(read) for read in chosen}
        assert passes == {(grid.layer.name, one) for grid, _ in layers for one in range(4)}
        tiles = {read.part.layer.name: read.part.name for read in chosen}
        assert {read.part.name for read in chosen} == set(tiles.values())
        spice.update(tiles.values())
        of_sample.update(read.part.name for read in drawn(kept, 59))
        of_pass.update(read.pass_index for read in drawn(kept, 4, tile_of))
    assert sum(of_sample.values()) == 59 * REPETITIONS
    # The random sample: each tile by its share of the reads. Tiles that are expected less than 5 times count together.
    due: defaultdict[str, float] = defaultdict(float)
    seen: Counter[str] = Counter()
    for tile, count in reads.items():
        expected = 59 * REPETITIONS * count / total
        own = tile if expected >= 5 else "rare"
        due[own] += expected
        seen[own] += of_sample[tile]
    assert chisquare([seen[one] for one in due], list(due.values())).pvalue > 1e-3
    # Of each layer, every tile is equally likely to be solved by the simulator for a pass.
    for grid, _ in layers:
        counts = [spice[part.name] for part in grid.tiles]
        assert sum(counts) == REPETITIONS
        if 1 < len(counts) and sum(counts) / len(counts) >= 5:
            assert chisquare(counts).pvalue > 1e-4, grid.layer.name
    # The passes of a tile's reads are equally likely.
    assert chisquare([of_pass[one] for one in range(4)]).pvalue > 1e-3


@pytest.fixture
def grid(small_chip: Callable[..., Chip], make_layer: Callable[..., QuantizedLayer]) -> TileGrid:
    return place(make_layer(11, 8), small_chip()).program()


def batches() -> Iterator[np.ndarray[Any, Any]]:
    random = np.random.default_rng(2)
    return (random.integers(0, 16, (count, 11), dtype=np.uint8) for count in (3, 40, 17, 1))


def test_keys_are_uniform_and_each_read_has_its_own(grid: TileGrid) -> None:
    sampler = Sampler(Quota(at_random=10_000), 3)
    observe_all(sampler, [(grid, 300)])
    keys = [read.key for read in sampler.kept()]
    assert len(keys) == len(set(keys)) == 4 * 4 * 300
    assert kstest(keys, "uniform").pvalue > 1e-3


def test_what_is_kept_does_not_depend_on_who_observed_it(
    grid: TileGrid, register: Callable[[Solver], str], switched: Solver
) -> None:
    """Batches are merged in any order, and each key is the same wherever its batch ran."""
    name, quota = register(switched), Quota(at_random=12)
    parts = []
    for number, codes in enumerate(batches()):
        sampler = Sampler(quota, 5, 0, number)
        grid.multiply(codes, reader_by(name, observe=sampler.observe))
        parts.append(sampler.samples())
    kept = []
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        collected = KeptReads(quota)
        for number in order:
            collected.add(parts[number])
        kept.append(collected.samples)
    assert [sample.key for sample in kept[0]] == [sample.key for sample in kept[1]]
    # The same as the smallest of all keys, of each tile, and of each pass.
    everything = []
    for number, codes in enumerate(batches()):
        whole = Sampler(Quota(at_random=10_000), 5, 0, number)
        grid.multiply(codes, reader_by(name, observe=whole.observe))
        everything += whole.samples()
    assert len(everything) == 4 * 4 * 61
    for some, all_of_them in zip(quota.groups(kept[0]), quota.groups(everything), strict=True):
        assert [one.key for one in some] == [one.key for one in all_of_them]
    assert len(drawn_of_passes(kept[0], 1)) == 4 and len({one.part.name for one in drawn_of_passes(kept[0], 1)}) == 1
    assert len(kept[0]) <= 12 + 4 * 4 + 4


def test_chips_and_batches_and_seeds_have_other_keys(grid: TileGrid) -> None:
    def first(*place: int) -> Drawn:
        sampler = Sampler(Quota(), *place)
        observe_all(sampler, [(grid, 10)])
        return sampler.kept()[0]

    assert len({first(*place).key for place in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))}) == 4
    assert first(0, 0, 0).key == first(0, 0, 0).key
