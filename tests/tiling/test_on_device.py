"""Reads in torch, on CPU tensors, against those by numba: they differ only where a current is at the edge of a code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from norsim.array.tile import Floats
from norsim.backends.backend import Backend
from norsim.backends.ideal import Ideal
from norsim.backends.macro import Macro
from norsim.backends.nodal import Nodal
from norsim.backends.simulators.ngspice import Ngspice
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError
from norsim.evaluation.batches import BatchResult, run_batches
from norsim.evaluation.proof.sampling import KeptReads, Quota, Sample
from norsim.periphery.adc import Adc
from norsim.periphery.encoding import Codes
from norsim.quantization.layer import ConvGeometry, QuantizedLayer
from norsim.quantization.quantize import quantize
from norsim.tiling.calibrate import calibrate, fit_layer
from norsim.tiling.convert import convert
from norsim.tiling.convolutions import im2col
from norsim.tiling.grid import TileGrid, exact_sums, place
from norsim.tiling.modules import digital, reading, tiled_layers
from norsim.tiling.on_device.build import device_tile, digital_side
from norsim.tiling.on_device.layer import DeviceLayer
from norsim.tiling.on_device.observed import DeviceCodes, ObservedDeviceRead
from norsim.tiling.on_device.reading import read_tiles
from norsim.tiling.on_device.tile import DeviceRead
from norsim.tiling.on_device.vectors import padded, patches
from norsim.tiling.read_noise import ReadNoise
from norsim.tiling.reader import Reader
from norsim.tiling.tile import TileRead

MakeLayer = Callable[..., QuantizedLayer]
CPU, NGSPICE = torch.device("cpu"), Ngspice()
# In units of full scale: where two paths may convert a current to two codes.
EDGE = 1e-6
SMALL = ("tile.wordlines=20", "tile.bitlines=18", "bit_serial.reference_every=6", "bit_serial.wires.strap_every=6")
NOISE = ("silicon.reading.scale=50 nA", "silicon.reading.knee=100 nA", "adc.noise=0.5")
DEFECTS = (
    "silicon.programming={scale: 20 nA, knee: 200 nA}", "silicon.stuck=0.02", "silicon.open=0.02", "adc.gain=0.01",
    "adc.offset=0.5", "adc.bow=0.5",
)  # fmt: skip
CHIPS = {
    "bits": (),
    "bits with noise and defects": (*NOISE, *DEFECTS),
    "bits, digital zero, ordered rows": ("mapping.scheme=digital", "tile.row_order=true"),
    "bits, differential, one row per line": ("mapping.scheme=differential",
                                             "bit_serial.wires.rows_per_source_line=1"),
    "bits, several blocks": ("bit_serial.wires.bitline=60 ohm",),
    "bits, metal straps, several blocks": ("bit_serial.wires.strap_ends=one", "bit_serial.wires.strap=40 ohm",
                                           "bit_serial.wires.bitline=60 ohm", "bit_serial.wires.ground=20 ohm"),
    "volts": ("encoding=linear-pair",),
    "volts with noise, defects and a DAC": ("encoding=linear-pair", *NOISE, *DEFECTS, "dac.steps=0.2"),
    "volts, several blocks": ("encoding=linear-pair", "linear_pair.wires.source_line=40 ohm"),
}  # fmt: skip


@lru_cache
def grid_of(name: str) -> TileGrid:
    """Return a layer of 27 inputs and 12 outputs on ragged tiles, fitted to random codes."""
    random = np.random.default_rng(3)
    layer = QuantizedLayer(
        "fc", random.integers(0, 16, (12, 27)), 7, np.full(12, 0.5), 4, 0.25, 2, 4, np.arange(12, dtype=np.float32)
    )
    grid = place(layer, load_chip("etox65", (*SMALL, *CHIPS[name])))
    return fit_layer(grid, codes_of(64, 1, 0.5), Reader(Macro()), 0)


def codes_of(count: int, seed: int, density: float) -> Codes:
    """Draw `[count, 27]` codes, of which a share `density` is not 0; the first vector is the highest everywhere."""
    random = np.random.default_rng(seed)
    codes = random.integers(1, 16, (count, 27)) * (random.random((count, 27)) < density)
    codes[0] = 15
    return codes.astype(np.uint8)


def reads_by_numba(grid: TileGrid, codes: Codes, noise: ReadNoise | None) -> list[TileRead]:
    return grid.read_whole(codes, Reader(Macro(), noise=noise))


def reads_in_torch(grid: TileGrid, codes: Codes, noise: ReadNoise | None, most_bytes: int = 2**24) -> list[DeviceRead]:
    """Read every tile on CPU tensors, joined if they do not fit."""
    found = []
    for part, array in grid.programmed():
        own = None if noise is None else noise.of_tile(part, array, len(codes))
        tile = device_tile(part, array, Macro(), CPU)
        reads = [read for _, read in tile.read(torch.from_numpy(codes), own, most_bytes)]
        whole = [torch.cat([getattr(read, name) for read in reads]) for name in ("amps", "adc", "sums")]
        lines = [read.line_noise for read in reads if read.line_noise is not None]
        found.append(DeviceRead(*whole, torch.cat(lines) if lines else None))
    return found


@pytest.mark.parametrize("name", ["bits with noise and defects", "volts"])
def test_all_tiles_are_read_to_memory(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A few vectors at a time, as where the memory of a device is small; some tiles alone."""
    monkeypatch.setattr("norsim.tiling.on_device.reading.bytes_at_once", lambda device: 8000)
    whole, codes = grid_of(name), codes_of(30, 5, 0.5)
    noise = ReadNoise(2, images=30) if whole.noisy else None
    for grid in (whole, replace(whole, tiles=whole.tiles[1:2], arrays=whole.arrays[1:2])):
        found = read_tiles(grid, codes, Reader(Macro(), noise=noise, in_torch=True), CPU)
        for part, one, other in zip(grid.tiles, reads_by_numba(grid, codes, noise), found, strict=True):
            assert one.adc.shape == other.adc.shape and one.sums.shape == other.sums.shape
            assert np.abs(one.amps - other.amps).max() <= EDGE / 2 * part.full_scale_amps
            assert (one.adc != other.adc).mean() < 0.01
    (found,) = read_tiles(grid, codes, Reader(Ideal(), in_torch=True), CPU)
    np.testing.assert_array_equal(found.sums, grid.tiles[0].ideal_sums(codes))


def from_edges(grid: TileGrid, place: int, amps: NDArray[np.floating], steps: Floats | None) -> Floats:
    """Return how far currents are from where their code changes, in units of full scale."""
    part = grid.tiles[place]
    seen = part.flaws.steps(amps.astype(np.float64), part.ranges) + (0 if steps is None else steps)
    inside = np.clip(seen, -0.5, part.ranges.top + 0.5)
    away = np.where(inside == seen, np.abs(seen - np.floor(seen) - 0.5), np.abs(seen - inside))
    return away * part.ranges.step_amps / part.full_scale_amps


@pytest.mark.parametrize("name", CHIPS)
@settings(max_examples=4)
@given(seed=st.integers(0, 2**30), density=st.floats(0, 1), count=st.integers(1, 40))
def test_codes_differ_only_at_the_edges_of_codes(name: str, seed: int, density: float, count: int) -> None:
    grid, codes = grid_of(name), codes_of(count, seed, density)
    noise = ReadNoise(seed, images=count) if grid.noisy else None
    pairs = zip(reads_by_numba(grid, codes, noise), reads_in_torch(grid, codes, noise), strict=True)
    for number, (one, other) in enumerate(pairs):
        part, array = grid.tiles[number], grid.arrays[number]
        assert np.abs(one.amps - other.amps.numpy()).max() <= EDGE / 2 * part.full_scale_amps
        steps = (
            None
            if noise is None
            else noise.of_tile(part, array, count).of_converters(one.amps.size // one.amps.shape[2])
        )
        away = from_edges(grid, number, one.amps, None if steps is None else steps.reshape(one.amps.shape))
        differ = one.adc != other.adc.numpy()
        assert (away[differ] <= EDGE).all()
        same = ~differ.any(axis=1)
        np.testing.assert_allclose(
            one.sums[same], other.sums.numpy()[same], rtol=1e-5, atol=1e-4 * np.abs(one.sums).max()
        )
        if one.line_noise is None:
            assert other.line_noise is None
        else:
            assert other.line_noise is not None
            np.testing.assert_allclose(one.line_noise, other.line_noise.numpy(), rtol=1e-5, atol=1e-13)


def test_the_chips_have_what_their_names_say() -> None:
    for name in CHIPS:
        grid = grid_of(name)
        models = [
            Macro().model(array.tile, array.drive(np.zeros((1, array.inputs), np.uint8))) for array in grid.arrays
        ]
        assert (max(model.model.blocks for model in models) > 1) == ("blocks" in name), name
        assert grid.noisy == ("noise" in name), name
        assert len({(len(part.inputs), len(part.outputs)) for part in grid.tiles}) > 1, name


@pytest.mark.parametrize("name", ["bits with noise and defects", "volts, several blocks"])
def test_vectors_that_do_not_fit_are_read_in_parts(name: str) -> None:
    grid, codes = grid_of(name), codes_of(40, 5, 0.5)
    noise = ReadNoise(4, images=40) if grid.noisy else None
    tile = device_tile(grid.tiles[0], grid.arrays[0], Macro(), CPU)
    least = tile.vectors_at_once(2**20)
    assert 1 <= tile.vectors_at_once(2**16) < 40 < least < 2 * tile.vectors_at_once(2**19) + 2
    whole, split = reads_in_torch(grid, codes, noise), reads_in_torch(grid, codes, noise, 2**16)
    for part, one, other in zip(grid.tiles, whole, split, strict=True):
        torch.testing.assert_close(one.amps, other.amps, rtol=0, atol=3e-7 * part.full_scale_amps)


def test_a_read_on_a_device_shows_observers_what_one_in_memory_does() -> None:
    grid, codes = grid_of("bits with noise and defects"), codes_of(9, 6, 0.5)
    noise = ReadNoise(4, images=9)
    one = reads_by_numba(grid, codes, noise)[0]
    other = ObservedDeviceRead(reads_in_torch(grid, codes, noise)[0])
    assert one.shape == other.shape
    part = grid.tiles[0]
    low, high = np.quantile(one.amps, [0.21, 0.73])
    narrow = replace(part, adcs=(Adc(part.ranges.bits, float(low), float(high)),))
    assert min(one.clipped(narrow)) > 0
    assert one.clipped(narrow) == other.clipped(narrow)
    chosen = np.array([0, 5, 8])
    mine, theirs = one.take(chosen), other.take(chosen)
    for name in ("amps", "adc", "sums", "line_noise"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-5, atol=1e-10)
    np.testing.assert_array_equal(DeviceCodes(torch.from_numpy(codes))[chosen], codes[chosen])


@pytest.mark.parametrize("name", ["bits", "bits, several blocks", "volts with noise, defects and a DAC"])
def test_nothing_leaves_the_device(name: str) -> None:
    """On tensors without storage: torch refuses to mix devices, and to copy from this one."""
    grid, nowhere = grid_of(name), torch.device("meta")
    tiles = tuple(device_tile(*pair, Macro(), nowhere) for pair in grid.programmed())
    layer = DeviceLayer(digital_side(grid.layer, nowhere), tiles, 2**14)
    noise = ReadNoise(1, images=12) if grid.noisy else None
    noises = [None if noise is None else noise.of_tile(*pair, 12) for pair in grid.programmed()]
    codes, seen = layer.side.encode(torch.empty(12, 27, device=nowhere)), []
    sums = layer.sums(codes, noises, lambda place, some, read: seen.extend([some, read.amps, read.adc, read.sums]))
    found = [*seen, sums, layer.side.real(sums), layer.side.exact_sums(codes)]
    assert {one.device for one in found} == {nowhere} and len(seen) > 4 * len(tiles)


GEOMETRIES = [
    ConvGeometry(4, (3, 3), padding=(1, 1)),
    ConvGeometry(4, (3, 2), stride=(2, 1), padding=(2, 0), dilation=(1, 2), groups=2),
    ConvGeometry(6, (1, 3), stride=(1, 2), padding=(0, 1), groups=3, padding_mode="circular"),
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_patches_codes_and_exact_sums_are_those_of_numpy(make_layer: MakeLayer, geometry: ConvGeometry) -> None:
    layer = make_layer(geometry.inputs, 6, geometry=geometry, input_zero=3)
    side = digital_side(layer, CPU)
    images = torch.randn(3, geometry.in_channels, 7, 6, generator=torch.Generator().manual_seed(1)) * 2
    np.testing.assert_array_equal(side.encode(images).numpy(), layer.encode(images.numpy()))
    codes = padded(side.encode(images), geometry, layer.input_zero)
    np.testing.assert_array_equal(codes.numpy(), im2col.padded_codes(images, layer, geometry))
    by_numba = im2col.patches(codes.numpy(), geometry)[:]
    np.testing.assert_array_equal(patches(codes, geometry).numpy(), by_numba)
    sums = exact_sums(layer, by_numba)
    np.testing.assert_array_equal(side.exact_sums(torch.from_numpy(by_numba)).numpy(), sums)
    correction = layer.input_zero * (layer.weights.astype(np.int64) - layer.weight_zero).sum(axis=1)
    np.testing.assert_array_equal(side.real(torch.from_numpy(sums)).numpy(), layer.decode(sums - correction))


def test_sums_too_large_for_float32_are_exact(make_layer: MakeLayer) -> None:
    layer = make_layer(3000, 3, weight_bits=8, input_bits=8)
    codes = np.random.default_rng(1).integers(250, 256, (4, 3000), dtype=np.uint8)
    np.testing.assert_array_equal(
        digital_side(layer, CPU).exact_sums(torch.from_numpy(codes)).numpy(), exact_sums(layer, codes)
    )


class Net(nn.Module):
    """Two convolutions, one with groups and strides, and a linear layer on tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 6, 3, stride=2, groups=2)
        self.last = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(torch.relu(self.first(x)))
        found: torch.Tensor = self.last(x.flatten(2).transpose(1, 2)).mean(1)
        return found


@lru_cache
def network_on(encoding: str) -> tuple[nn.Module, torch.Tensor]:
    """Return a calibrated network with noise, and 12 images for it."""
    torch.manual_seed(1)
    images = torch.rand(12, 2, 7, 7)
    chip = load_chip("etox65", (*SMALL, *NOISE, f"encoding={encoding}", "adc.bits=12"))
    network = convert(quantize(Net().eval(), [images]), chip)
    calibrate(network, images)
    return network, images


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_a_network_answers_in_torch_as_by_numba(encoding: str) -> None:
    network, images = network_on(encoding)

    def run(in_torch: bool) -> tuple[BatchResult, list[Sample]]:
        kept = KeptReads(Quota(2, 1, 8))
        reader = Reader(Macro(), in_torch=in_torch)
        return run_batches(network, [images], reader, classify=False, kept=kept, seed=2)[0], kept.samples

    (numba, samples), (in_torch, others), (again, _) = run(False), run(True), run(True)
    largest = float(numba.array.abs().max())
    # One converter step of one read is as much as the paths may differ by, here and there.
    assert float((numba.array - in_torch.array).abs().max()) <= 2e-2 * largest
    assert float((numba.array - in_torch.array).abs().median()) <= 1e-5 * largest
    assert torch.equal(in_torch.array, again.array)
    assert all(layer.path is not None for layer in tiled_layers(network).values())
    # Observers see the same reads.
    for name, use in numba.uses.items():
        other = in_torch.uses[name]
        assert (use.reads, use.conversions) == (other.reads, other.conversions)
        assert abs(use.low - other.low) + abs(use.high - other.high) <= 1e-3 * use.conversions
    assert [(one.key, one.part.name, one.pass_index) for one in samples] == [
        (one.key, one.part.name, one.pass_index) for one in others
    ]
    for one, other in zip(samples, others, strict=True):
        np.testing.assert_array_equal(one.stimulus.wordline_volts.shape, other.stimulus.wordline_volts.shape)
        assert np.median(np.abs(one.amps - other.amps)) <= EDGE * one.part.full_scale_amps
    # And the integers.
    with digital(network), torch.no_grad():
        exact = network(images)
        for layer in tiled_layers(network).values():
            layer.use(Reader(Ideal(), in_torch=True))
        torch.testing.assert_close(network(images), exact, rtol=0, atol=0)


def test_tables_on_a_device_are_shared_by_copies_and_left_out_of_pickles() -> None:
    network, images = network_on("bit-serial")
    for layer in tiled_layers(network).values():
        layer.path = None
    size = len(pickle.dumps(network))
    with reading(network, Reader(Macro(), in_torch=True)), torch.no_grad():
        network(images)
    pairs = zip(tiled_layers(network).values(), tiled_layers(deepcopy(network)).values(), strict=True)
    for layer, twin in pairs:
        assert layer.path is not None and twin.path is not None and layer.path.layer.tiles
        assert twin.path.layer is layer.path.layer and twin.path.grid is twin.grid is not layer.grid
    content = pickle.dumps(network)
    assert len(content) < size + 1000
    assert all(layer.path is None for layer in tiled_layers(pickle.loads(content)).values())


@pytest.mark.parametrize("in_torch", [False, True])
@pytest.mark.parametrize("backend", [Ideal(), Macro()])
def test_convolutions_of_no_images_and_of_small_ones(backend: Backend, in_torch: bool) -> None:
    network, _ = network_on("bit-serial")
    layer = tiled_layers(network)["second"]
    with reading(network, Reader(backend, in_torch=in_torch)), torch.no_grad():
        assert layer(torch.rand(0, 4, 7, 9)).shape == (0, 6, 3, 4)
        assert layer(torch.rand(1, 4, 3, 3)).shape == (1, 6, 1, 1)
        with pytest.raises(ConfigurationError, match=r"'second': input of shape \(1, 4, 2, 5\) is smaller than the k"):
            layer(torch.rand(1, 4, 2, 5))


def test_nodal_computes_where_the_network_is() -> None:
    """On a card it is `nodal` in torch, here on CPU tensors; the same codes but at edges."""
    assert Nodal().on("cuda:1") == Nodal("cuda:1") and Nodal("cuda").on("cpu") == Nodal()
    assert Reader(Nodal()).on("cuda:0").backend == Nodal("cuda:0") and Reader(NGSPICE).on("cuda:0").backend is NGSPICE
    whole, codes = grid_of("bits"), codes_of(12, 5, 0.5)
    for part, one, other in zip(
        whole.tiles, *(whole.read_whole(codes, Reader(backend)) for backend in (Nodal(), Nodal("cpu"))), strict=True
    ):
        assert 0 < np.abs(one.amps - other.amps).max() <= 1e-8 * part.full_scale_amps
        assert (one.adc != other.adc).mean() < 0.01


def test_memory_of_a_layer_bounds_its_images_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = network_on("bit-serial")
    answers, calls = [], []
    sums = DeviceLayer.sums
    monkeypatch.setattr(
        DeviceLayer, "sums", lambda self, codes, *rest: calls.append(len(codes)) or sums(self, codes, *rest)
    )
    for most in (2**26, 2**14):
        monkeypatch.setattr("norsim.tiling.on_device.layer.LEAST_BYTES", most)
        for layer in tiled_layers(network).values():
            layer.path = None
        calls.clear()
        with reading(network, Reader(Macro(), in_torch=True)), torch.no_grad():
            answers.append(network(images))
        assert (len(calls) > 3) == (most < 2**20)
        assert sum(calls) == 12 * (49 + 9 + 9)
    torch.testing.assert_close(*answers, rtol=1e-3, atol=1e-2)

    def full(*arguments: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(DeviceLayer, "sums", full)
    with (
        pytest.raises(ConfigurationError, match="memory of cpu is full while layer 'first' .* Give fewer images"),
        reading(network, Reader(Macro(), in_torch=True)),
    ):
        network(images)
