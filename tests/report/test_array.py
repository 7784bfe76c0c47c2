"""The worst tile: node voltages match ngspice, errors match the run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from norsim.backends.characterised import read_nodes
from norsim.backends.registry import read
from norsim.chip.model import Chip
from norsim.evaluation.proof.sampling import Sample
from norsim.quantization.layer import QuantizedLayer
from norsim.report.array import SolvedTile, deviations, errors, exact_amps, solve_worst
from norsim.tiling.grid import place
from norsim.tiling.program import program_tile
from norsim.tiling.tile import PlacedTile

MakeLayer = Callable[..., QuantizedLayer]
SmallChip = Callable[..., Chip]
ENCODINGS = ("bit-serial", "linear-pair")


def part_of(layer: QuantizedLayer, chip: Chip) -> PlacedTile:
    return place(layer, chip).tiles[0]


def sample_of(part: PlacedTile, seed: int = 0) -> Sample:
    codes = np.random.default_rng(seed).integers(1, 16, (1, part.layer.inputs), dtype=np.uint8)
    array = program_tile(part)
    stimulus = array.drive(part.codes(codes)).take(slice(0, 1))
    amps = part.amps(read(array.tile, stimulus, "ngspice"))[0]
    return Sample(0.0, part, stimulus, amps, part.convert(amps).astype(np.int32), array)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.slow
def test_node_currents_agree_with_ngspice(small_chip: SmallChip, make_layer: MakeLayer, encoding: str) -> None:
    chip = small_chip(f"encoding={encoding}")
    sample = sample_of(part_of(make_layer(8, 4), chip))
    assert sample.array is not None
    tile, wires = sample.array.tile, chip.wires
    found = read_nodes(tile, sample.stimulus)
    bitline = read(tile, sample.stimulus, "ngspice").bitline[0]
    full = sample.part.full_scale_amps
    np.testing.assert_allclose(found.amps.sum(axis=0), bitline, rtol=0, atol=1e-7 * full)
    # By hand: the whole current of a bitline flows through its end, and the current beyond a node through the segment
    # before it.
    beyond = np.cumsum(found.amps[::-1], axis=0)[::-1]
    drop = wires.bitline_end_ohms * beyond[0] + wires.bitline_ohms * np.cumsum(
        beyond * (np.arange(len(beyond)) > 0)[:, None], axis=0
    )
    np.testing.assert_allclose(found.drop, drop, rtol=0, atol=1e-6 * drop.max())
    lossless = read_nodes(tile, sample.stimulus, lossless=True)
    assert not lossless.drop.any() and not lossless.rise.any()
    assert (lossless.amps >= found.amps - 1e-12).all() and lossless.amps.sum() > found.amps.sum()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_without_wires_currents_are_nearly_ideal(
    small_chip: SmallChip, make_layer: MakeLayer, lossless: tuple[str, ...], encoding: str
) -> None:
    """The rest is the deviation of program-verify, leakage and, for linear-pair, the non-linearity of cells."""
    sample = sample_of(part_of(make_layer(8, 4), small_chip(f"encoding={encoding}", *lossless)))
    ideal = exact_amps(sample.part, sample.stimulus)
    assert ideal.shape == (1, 4)
    # The bound is meaningful only for currents that are a large part of full scale.
    assert np.abs(ideal).max() > 0.05 * sample.part.full_scale_amps
    assert np.abs(errors(sample)).max() < {"bit-serial": 1e-5, "linear-pair": 5e-3}[encoding]


def test_the_worst_read_is_solved_again(small_chip: SmallChip, make_layer: MakeLayer) -> None:
    part = part_of(make_layer(6, 3), small_chip("silicon.drift_cell=30 mV"))
    samples = [sample_of(part, seed) for seed in range(4)]
    found = solve_worst(samples)
    assert isinstance(found, SolvedTile)
    assert abs(found.worst) == max(float(np.abs(errors(sample)).max()) for sample in samples)
    assert found.name == part.name and found.thresholds.shape == found.error.shape == found.drop.shape
    levels = program_tile(part).levels.thresholds
    spread = found.thresholds - levels[found.codes]
    assert 0.01 < spread.std() < 0.06
    (one,) = deviations({"fc": samples})
    assert one.reads == 4 and 0 < one.rms < one.worst == abs(found.worst)


def test_a_chip_without_flaws_has_only_the_errors_of_its_wires(
    small_chip: SmallChip, make_layer: MakeLayer, lossless: tuple[str, ...]
) -> None:
    perfect = solve_worst([sample_of(part_of(make_layer(8, 4), small_chip(*lossless)))])
    lossy = solve_worst([sample_of(part_of(make_layer(8, 4), small_chip()))])
    assert isinstance(perfect, SolvedTile) and isinstance(lossy, SolvedTile)
    assert np.abs(perfect.error).max() < 1e-9
    assert lossy.error.min() < -1e-5 and lossy.error.max() < 1e-9
