"""Noise that is drawn for each read: its law, its independence of how reads are made, what calibration sees of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import norsim
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.backends.programming import curve
from norsim.chip.model import Chip
from norsim.evaluation.batches import run_batches
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Threads, Workers
from norsim.periphery.adc import IDEAL_CONVERTERS
from norsim.periphery.encoding import Codes, sense_matrix
from norsim.quantization.layer import QuantizedLayer
from norsim.random_streams import Stream
from norsim.tiling import reader as reader_module
from norsim.tiling.calibrate import fit_layer
from norsim.tiling.grid import TileGrid, exact_sums, place
from norsim.tiling.modules import reading, tiled_layers
from norsim.tiling.read_noise import ReadNoise, image_axis
from tests.conftest import reader_by, ready

MakeLayer = Callable[..., QuantizedLayer]
SmallChip = Callable[..., Chip]
Solver = Callable[[Tile, Stimulus], Currents]

# Half a level step, 0.5 x 1.6 uA / 15, for all cells that conduct.
HALF = ("silicon.reading.scale=53.333 nA", "silicon.reading.knee=1 fA")
CODES = np.random.default_rng(1).integers(0, 16, (12, 11), dtype=np.uint8)
READ = {"bit-serial": ("bitline", 1.0), "linear-pair": ("source", 15.0)}


@pytest.fixture
def grid(small_chip: SmallChip, make_layer: MakeLayer) -> TileGrid:
    """Return a grid of two rows and two columns of tiles, with noise of the cells and of the converters."""
    return place(make_layer(11, 8), small_chip(*HALF, "adc.noise=1")).program()


@pytest.mark.parametrize("encoding", READ)
def test_noise_of_a_line_has_the_variance_of_its_driven_cells(
    small_chip: SmallChip, make_layer: MakeLayer, encoding: str
) -> None:
    """Var = sum_i sigma_i^2 x_i^2, and outputs with a common line are correlated by it: covariances of 5,000 images,
    within five standard errors of those summed cell by cell."""
    grid = place(make_layer(11, 8), small_chip(*HALF, f"encoding={encoding}")).program()
    part, array, passes = grid.tiles[0], grid.arrays[0], grid.chip.encoding.passes(4)
    codes = part.codes(CODES[:1])
    lines = ReadNoise(0).of_tile(part, array, 5000).of_lines(np.repeat(codes, 5000, axis=0))
    assert lines is not None
    kind, top = READ[encoding]
    sense = sense_matrix(array.encoding.sense(array.outputs), kind, lines.shape[1])
    outputs = (lines @ sense).reshape(5000, passes, -1)
    sigma = np.where(array.levels.target_amps[part.cell_codes()] > 0, 53.333e-9, 0.0)
    assert array.read_sigma == pytest.approx(sigma, rel=1e-6)
    for number in range(passes):
        x = (codes[0] >> number & 1) if passes > 1 else codes[0] / top
        cells = (sigma * x[:, None]) if kind == "bitline" else (sigma * x).T
        covariance = sense.T @ np.diag(np.square(cells).sum(axis=0)) @ sense
        found = outputs[:, number].T @ outputs[:, number] / 5000
        size = np.sqrt(np.outer(covariance.diagonal(), covariance.diagonal()))
        assert np.abs(found - covariance).max() <= 5 * size.max() * np.sqrt(2 / 5000)
        shared = np.abs(covariance[~np.eye(len(covariance), dtype=bool)]).max()
        assert (shared > 0.1 * size.max()) == (encoding == "bit-serial" and x.any())
    assert np.abs(outputs.mean(axis=0)).max() <= 5 * outputs.std() / np.sqrt(5000) * 2


def drawn(grid: TileGrid, name: str, noise: ReadNoise | None, codes: Codes = CODES) -> list[Floats]:
    """Return currents and converter codes of all tiles, as read by a backend."""
    return [part for read in grid.read_whole(codes, reader_by(name, noise=noise)) for part in (read.amps, read.adc)]


def test_noise_does_not_depend_on_what_is_read_together(
    grid: TileGrid, register: Callable[..., str], switched: Solver
) -> None:
    """Images 3 to 5 have the noise that they have among all images, two vectors each."""
    name, all_images = register(switched), ReadNoise(0, images=6)
    whole = drawn(grid, name, all_images)
    alone = drawn(grid, name, ReadNoise(0, first_image=3, images=2), CODES[6:10])
    assert all(np.array_equal(one[6:10], other) for one, other in zip(whole, alone, strict=True))
    quiet = drawn(grid, name, None)
    assert not any(np.array_equal(one, other) for one, other in zip(whole, quiet, strict=True))


@pytest.mark.parametrize("amps_at_once", [1, 200, 2**19])
def test_noise_does_not_depend_on_the_parts_that_a_model_reads(
    grid: TileGrid, monkeypatch: pytest.MonkeyPatch, amps_at_once: int
) -> None:
    part, array, noise = grid.tiles[0], grid.arrays[0], ReadNoise(0, images=4)
    whole = noise.of_tile(part, array, 12)
    lines, steps = whole.of_lines(part.codes(CODES)), whole.of_converters(48)
    monkeypatch.setattr(reader_module, "AMPS_AT_ONCE", amps_at_once)
    found = list(reader_by("macro", noise=noise).read_by_model(part, array, CODES))
    assert lines is not None and steps is not None and (len(found) > 1) == (amps_at_once < 300)
    again = np.concatenate([read.line_noise for _, _, read in found])
    assert np.array_equal(again.reshape(lines.shape), lines)
    by_parts = noise.of_tile(part, array, 12)
    assert np.array_equal(np.concatenate([by_parts.of_converters(n) for n in (1, 30, 17)]), steps)


def test_each_read_has_noise_of_its_own(grid: TileGrid, make_layer: MakeLayer) -> None:
    """Tiles, layers, chips, seeds, purposes, images and calls of a layer differ."""
    part, array = grid.tiles[0], grid.arrays[0]
    named = replace(part, layer=make_layer(11, 8, name="other"))
    other_chip = replace(part, chip=part.chip.specimen(0, 1))
    draws = [(ReadNoise(0), part), (ReadNoise(0), grid.tiles[2]), (ReadNoise(0), named), (ReadNoise(0), other_chip),
             (ReadNoise(1), part), (ReadNoise(0, Stream.CALIBRATION_NOISE), part), (ReadNoise(0, first_image=12), part),
             (ReadNoise(0, call=1), part)]  # fmt: skip
    lines, steps = [], []
    for noise, one in draws:
        found = noise.of_tile(one, array, 12)
        line, step = found.of_lines(part.codes(CODES)), found.of_converters(48)
        assert line is not None and step is not None
        lines.append(line.ravel()), steps.append(step.ravel())
    for values in (lines, steps):
        correlations = np.corrcoef(values) - np.eye(len(values))
        assert np.abs(correlations).max() < 5 / np.sqrt(len(values[0]))
    assert abs(np.corrcoef(lines[0], np.resize(steps[0], lines[0].shape))[0, 1]) < 5 / np.sqrt(len(lines[0]))


@pytest.mark.slow
@pytest.mark.parametrize("encoding", READ)
def test_backends_see_the_same_noise(small_chip: SmallChip, make_layer: MakeLayer, encoding: str) -> None:
    """What noise adds to the currents is equal up to float32, and with noise macro and nodal are as near to ngspice as
    without."""
    chip = small_chip(*HALF, f"encoding={encoding}")
    grid, codes = place(make_layer(7, 3), chip).program(), CODES[:4, :7]
    noisy, quiet = (
        {name: drawn(grid, name, noise, codes)[0] for name in ("macro", "nodal", "ngspice")}
        for noise in (ReadNoise(0), None)
    )
    full = grid.tiles[0].full_scale_amps
    for name in ("macro", "nodal"):
        assert noisy[name] - quiet[name] == pytest.approx(noisy["ngspice"] - quiet["ngspice"], abs=1e-6 * full)
        assert np.abs(noisy[name] - noisy["ngspice"]).max() <= 1e-4 * full
    assert (noisy["ngspice"] - quiet["ngspice"]).std() > 0.01 * full


class Sequence(nn.Module):
    """A network for sequences whose linear layer, called twice, sees positions before images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mix, self.head = nn.Conv2d(1, 5, 3, stride=3), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.relu(self.conv(x)).flatten(2).permute(2, 0, 1)
        tokens = torch.relu(self.mix(tokens)) + torch.relu(self.mix(tokens.flip(0)))
        found: Tensor = self.head(tokens.mean(0))
        return found


@pytest.fixture
def network(small_chip: SmallChip) -> tuple[nn.Module, Tensor]:
    """Return the network on a chip with noise, and 12 images."""
    torch.manual_seed(0)
    images = torch.rand(12, 1, 9, 9)
    analog = norsim.convert(norsim.quantize(Sequence().eval(), [images]), small_chip(*HALF, "adc.noise=0.5"))
    return ready(analog), images


def outputs(
    network: nn.Module, images: Tensor, name: str, batch: int, workers: Workers = HERE, store: UnitStore | None = None,
    seed: int = 0,
) -> Tensor:  # fmt: skip
    """Return the network's outputs `[images, 3]` with noise, computed in batches of `batch` images."""
    reader = reader_by(name, workers, store=store)
    found = run_batches(network, images.split(batch), reader, classify=False, seed=seed)
    return torch.cat([one.array for one in found])


class Elsewhere(Threads):
    """Workers that get whole batches, as those in other processes do."""

    elsewhere = True


def test_an_evaluation_does_not_depend_on_how_it_is_done(
    network: tuple[nn.Module, Tensor], register: Callable[..., str], switched: Solver, tmp_path: Path
) -> None:
    """Batches, workers and an interruption leave each output as it was; another seed does not."""
    analog, images = network
    name = register(switched)
    whole = outputs(analog, images, name, 12)
    assert not torch.equal(outputs(analog, images, name, 12, seed=1), whole)
    for batch, workers in ((12, Threads(2)), (7, Threads(1)), (1, HERE), (4, Elsewhere(2))):
        torch.testing.assert_close(outputs(analog, images, name, batch, workers), whole, rtol=1e-5, atol=1e-5)
    store = UnitStore((tmp_path,))
    kept = outputs(analog, images[:8], name, 4, store=store)
    torch.testing.assert_close(kept, whole[:8], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outputs(analog, images, name, 4, store=store), whole, rtol=1e-5, atol=1e-5)
    # The same images after others are other images of the run, with other noise.
    later = outputs(analog, torch.cat([images[4:8], images[4:8]]), name, 4, store=store)
    assert not torch.allclose(later[:4], later[4:]) and torch.allclose(later[4:], whole[4:8], rtol=1e-5, atol=1e-5)


def test_a_call_draws_noise_again_and_leaves_that_of_evaluations(
    network: tuple[nn.Module, Tensor], register: Callable[..., str], switched: Solver
) -> None:
    analog, images = network
    name = register(switched)
    for layer in tiled_layers(analog).values():
        layer.use(reader_by(name, noise=ReadNoise(0, images=12)))
    with torch.no_grad():
        first = analog(images)
        assert torch.equal(outputs(analog, images, name, 12), first)
        second = analog(images)
    assert not torch.equal(first, second)
    assert tiled_layers(analog)["mix"].calls == 4 and tiled_layers(analog)["conv"].calls == 2


@pytest.mark.parametrize(
    ("shape", "images", "axis"),
    [((4,), 4, 0), ((4, 9), 4, 0), ((9, 4), 4, 1), ((12, 9), 4, 0), ((1,), 4, 0), ((), 4, 0), ((3, 5), None, 0),
     ((2, 3, 7), 7, 2)],
)  # fmt: skip
def test_the_axis_of_images_is_found(shape: tuple[int, ...], images: int | None, axis: int) -> None:
    assert image_axis(shape, images, "fc") == axis


def test_an_input_without_an_axis_of_images_is_refused_if_there_is_noise(
    make_layer: MakeLayer, network: tuple[nn.Module, Tensor], register: Callable[..., str], switched: Solver
) -> None:
    with pytest.raises(norsim.ConfigurationError, match=r"'fc' has noise .* \[9, 5, 'inputs'\] has no axis for the 4"):
        image_axis((9, 5), 4, "fc")
    layer = tiled_layers(network[0])["mix"]
    with reading(network[0], reader_by(register(switched), noise=ReadNoise(0, images=4))):
        with pytest.raises(norsim.ConfigurationError, match="no axis for the 4 images"):
            layer(torch.rand(9, 5))
        quiet = replace(layer.grid, chip=replace(layer.grid.chip, converters=IDEAL_CONVERTERS))
        layer.grid = replace(quiet, arrays=tuple(replace(one, read_sigma=None) for one in quiet.arrays))
        assert layer(torch.rand(9, 5)).shape == (9, 5)


def lossless_cells(chip: Chip) -> Solver:
    """Return a solver of the chip's own cells, by their curve under the verify read, on lossless wires."""
    amps = np.linspace(0, 3e-6, 3001)[1:]
    volts = curve(chip.verify_cell, chip.encoding)(amps)

    def solve(tile: Tile, stimulus: Stimulus) -> Currents:
        on = (stimulus.wordline_volts > 0).astype(np.float64)
        bitline = on @ np.interp(tile.thresholds, volts[::-1], amps[::-1], right=0.0)
        return Currents(bitline, bitline.sum(axis=1)[:, None], on[:, 0] >= 0, 0 * on[:, 0], "lossless")

    return solve


SPREADS = {
    "per read": HALF,
    "per chip": (*HALF, "silicon.reading_drawn=per_chip"),
    "programmed": ("silicon.programming.scale=53.333 nA", "silicon.programming.knee=1 fA"),
}


@pytest.mark.parametrize("kind", SPREADS)
def test_calibration_removes_no_noise(
    small_chip: SmallChip, make_layer: MakeLayer, register: Callable[..., str], kind: str
) -> None:
    """The fit of each output removes less than 5 % of the rms error by noise, since it saw other noise; of an equal
    spread that stays, it removes more than a fifth. Twelve chips; 64 inputs, sums of other vectors than the fit's."""
    size = ("tile.wordlines=64", "tile.bitlines=16", "calibration.reads=64", "adc.bits=12")
    squares, random = np.zeros(2), np.random.default_rng(5)
    for number in range(12):
        seen, new = (random.binomial(15, 0.25, (200, 64)).astype(np.uint8) for _ in range(2))
        for k, on in enumerate(("true", "false")):
            chip = small_chip(*size, *SPREADS[kind], f"calibration.column_fit={on}").specimen(0, number)
            name = register(lossless_cells(chip))
            grid = place(make_layer(64, 10, seed=number), chip).program()
            fitted = fit_layer(grid, seen, reader_by(name), 0)
            off = fitted.multiply(new, reader_by(name, noise=ReadNoise(0))) - exact_sums(grid.layer, new)
            squares[k] += np.square(off).mean()
    removed = 1 - float(np.sqrt(squares[0] / squares[1]))
    assert (removed > 0.2) if kind == "programmed" else (removed < 0.05), removed
