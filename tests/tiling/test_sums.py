"""The sums of a layer that `macro` adds up in one step, against its currents, sensed, converted and added in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.evaluation.clipping import Tally
from norsim.evaluation.proof.sampling import Quota, Sampler
from norsim.periphery.adc import Flaws
from norsim.periphery.code_vectors import CodeVectors
from norsim.periphery.encoding import Codes, sense_matrix, sense_parts
from norsim.periphery.readout import convert_and_add
from norsim.quantization.layer import ConvGeometry, QuantizedLayer
from norsim.solver.macro import tables
from norsim.tiling import reader as reader_module
from norsim.tiling.convolutions.im2col import decoded, padded_codes, patches
from norsim.tiling.grid import TileGrid, place
from norsim.tiling.read_noise import ReadNoise, on_outputs
from norsim.tiling.tile import PlacedTile, TileRead
from tests.conftest import reader_by

MakeLayer = Callable[..., QuantizedLayer]
SmallChip = Callable[..., Chip]

NOISY = ("silicon.reading={scale: 50 nA, knee: 100 nA}", "adc.noise=0.5")
DEFECTS = ("silicon.stuck=0.1", "silicon.open=0.1")
# Tiles of several blocks, because of their resistive wires.
LONG = ("tile.wordlines=32", "bit_serial.wires.bitline=400 ohm", "linear_pair.wires.source_line=400 ohm")
KINDS = {
    "noise and defects": (*NOISY, *DEFECTS),
    "blocks": LONG,
    "digital zero": ("mapping.scheme=digital",),
}
# The zero point of a linear pair is always 0.
CASES = [("bit-serial", kind) for kind in KINDS] + [("linear-pair", kind) for kind in list(KINDS)[:2]]


def codes_of(vectors: int, inputs: int, seed: int = 1) -> Codes:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 16, (vectors, inputs)) * (random.random((vectors, inputs)) < 0.6)
    return codes.astype(np.uint8)


def fitted(grid: TileGrid) -> TileGrid:
    """Return the grid with converters and column corrections that differ from output to output."""
    random, parts = np.random.default_rng(5), []
    for part in grid.tiles:
        count, adc = (
            len(part.outputs),
            replace(part.adcs[0], low_amps=-part.full_scale_amps / 9, high_amps=part.full_scale_amps / 7),
        )
        own = Flaws(*(size * random.normal(size=count) for size in (0.02, 0.7, 0.5)))
        parts.append(
            replace(
                part, adcs=(adc,), flaws=own, gain=random.uniform(0.9, 1.1, count), offset=random.normal(size=count)
            )
        )
    return replace(grid, tiles=tuple(parts), calibrated=True)


@pytest.fixture(scope="module")
def grids(small_chip: SmallChip, make_layer: MakeLayer) -> Callable[[str, str], TileGrid]:
    """Return a function that programs a layer on ragged tiles, once for each encoding and kind."""
    made: dict[tuple[str, str], TileGrid] = {}

    def grid(encoding: str, kind: str) -> TileGrid:
        if (encoding, kind) not in made:
            layer = make_layer(40, 3) if kind == "blocks" else make_layer(11, 5)
            chip = small_chip(*KINDS[kind], f"encoding={encoding}")
            made[encoding, kind] = fitted(place(layer, chip).program())
        return made[encoding, kind]

    return grid


def step_by_step(part: PlacedTile, grid: TileGrid, codes: Codes, noise: ReadNoise | None) -> TileRead:
    """Read one tile as written in the documentation, each step for all reads."""
    array = grid.arrays[grid.tiles.index(part)]
    reader, encoding, own = reader_by("macro"), array.encoding, part.codes(codes)
    model = reader.backend.model(array.tile, array.drive(own[:1]))
    passes, sense = encoding.passes(4), encoding.sense(len(part.outputs))
    lines = model.lines(encoding.drives(own), passes, encoding.top_drive)
    kind = "bitline" if model.drive.direction == "wordlines" else "source"
    amps = lines @ sense_matrix(sense, kind, model.summed).astype(np.float32)
    deviations = steps = None
    if noise is not None:
        drawn = noise.of_tile(part, array, len(codes))
        deviations, steps = drawn.of_lines(own), drawn.of_converters(len(amps))
        if deviations is not None:
            amps = amps + on_outputs(array, deviations)
    lsb = part.chip.encoding.lsb_amps
    (one,) = part.adcs
    scale, shift = one.step_amps / lsb * part.gain, one.low_amps / lsb * part.gain + part.offset
    adc, sums = convert_and_add(amps, part.ranges, part.flaws, steps, scale, shift, encoding.place_values(passes), 1)
    digital = encoding.digital_part(own, part.layer.weight_zero)
    if digital is not None:
        sums += digital
    shape = (len(codes), passes, len(part.outputs))
    by_pass = None if deviations is None else deviations.reshape(*shape[:2], -1)
    return TileRead(amps.reshape(shape), adc.reshape(shape), sums, by_pass)


@pytest.mark.parametrize(("encoding", "kind"), CASES)
def test_sums_are_those_of_each_step_by_itself(
    grids: Callable[[str, str], TileGrid], monkeypatch: pytest.MonkeyPatch, encoding: str, kind: str
) -> None:
    """Currents and codes bit for bit, sums to rounding; and bit for bit for any part of the vectors and any number of
    threads."""
    grid, noise = grids(encoding, kind), ReadNoise(3, images=7) if "noise" in kind else None
    codes = codes_of(35, grid.layer.inputs)
    expected, clips = np.zeros((35, grid.layer.outputs)), np.zeros(2, np.int64)
    whole, blocks = reader_by("macro", noise=noise), []
    for part, array in zip(grid.tiles, grid.arrays, strict=True):
        read = step_by_step(part, grid, codes, noise)
        expected[:, part.outputs.start : part.outputs.stop] += read.sums
        clips += read.clipped(part)
        (found,) = (other for _, _, other in whole.read_by_model(part, array, codes))
        for name in ("amps", "adc", "line_noise"):
            assert np.array_equal(getattr(found, name), getattr(read, name)), name
        blocks.append(whole.backend.model(array.tile, array.drive(part.codes(codes[:1]))).model.blocks)
    assert (max(blocks) > 1) == (kind == "blocks") and len(blocks) > 1
    tally = Tally()
    sums = grid.multiply(codes, replace(whole, observe=tally.observe))
    assert sums == pytest.approx(expected, rel=1e-6, abs=1e-6 * np.abs(expected).max())
    assert [tally.uses["fc"].low, tally.uses["fc"].high] == clips.tolist() and clips.any()
    monkeypatch.setattr(reader_module, "AMPS_AT_ONCE", 300)
    monkeypatch.setattr(tables, "get_num_threads", lambda: 3)
    assert np.array_equal(grid.multiply(codes, whole), sums)
    if noise is None:
        assert np.array_equal(grid.multiply(codes[13:], whole), sums[13:])


def test_codes_beyond_the_volts_of_a_line_are_refused(grids: Callable[[str, str], TileGrid]) -> None:
    with pytest.raises(ConfigurationError, match="layer 'fc': activation code 16; expected codes up to 15"):
        grids("linear-pair", "noise and defects").multiply(np.full((2, 11), 16, np.uint8), reader_by("macro"))


@pytest.mark.parametrize("kind", ["digital zero", "noise and defects"])
def test_the_reads_that_are_kept_are_read_again_with_their_noise(
    grids: Callable[[str, str], TileGrid], kind: str
) -> None:
    grid, codes, noise = (
        grids("bit-serial", kind),
        codes_of(40, 11),
        ReadNoise(3, images=8) if "noise" in kind else None,
    )
    reader, fused, whole = reader_by("macro", noise=noise), Sampler(Quota(3, 1, 9), 0), Sampler(Quota(3, 1, 9), 0)
    grid.multiply(codes, replace(reader, observe=fused.observe))
    for part, array in zip(grid.tiles, grid.arrays, strict=True):
        whole.observe(part, array, codes, step_by_step(part, grid, codes, noise))
    assert len(fused.kept()) == len(whole.kept()) >= 9
    for one, other in zip(fused.kept(), whole.kept(), strict=True):
        assert (one.key, one.part.name, one.pass_index) == (other.key, other.part.name, other.pass_index)
        for name in ("codes", "amps", "adc", "line_noise"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)), st.tuples(st.integers(1, 2), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)), st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.sampled_from(["zeros", "reflect", "replicate", "circular"]), st.integers(0, 15),
)  # fmt: skip
def test_patches_are_those_of_torch_and_are_not_copied(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int], mode: str,
    zero: int,
) -> None:  # fmt: skip
    geometry = ConvGeometry(2, kernel, stride, padding, dilation, padding_mode=mode)
    inputs = geometry.inputs
    layer = QuantizedLayer(
        "conv", np.zeros((1, inputs), np.uint8), 0, np.ones(1, np.float32), 4, 0.25, zero, 4, geometry=geometry
    )
    activations = torch.randn(3, 2, 6, 7, generator=torch.Generator().manual_seed(zero)) * 4
    codes = torch.from_numpy(layer.encode(activations.numpy()).astype(np.float32))
    sides = (padding[1], padding[1], padding[0], padding[0])
    framed = functional.pad(codes, sides, value=zero) if mode == "zeros" else functional.pad(codes, sides, mode=mode)
    expected = functional.unfold(framed, kernel, dilation, 0, stride).transpose(1, 2).reshape(-1, inputs).numpy()
    found = padded_codes(activations, layer, geometry)
    vectors = patches(found, geometry)
    assert np.array_equal(found, framed.numpy())
    assert np.array_equal(vectors[:], expected) and len(vectors) == len(expected)
    assert np.shares_memory(vectors.codes, found)
    some, order = np.array([len(vectors) - 2, 1, len(vectors) - 1]), np.random.default_rng(0).permutation(inputs)
    assert np.array_equal(vectors.take(some).of_inputs(slice(0, inputs), order)[:], expected[some][:, order])
    assert np.array_equal(CodeVectors.of_rows(vectors[:])[some], expected[some])


@pytest.mark.parametrize("bias", [None, np.array([0.5, -1.0, 2.0])])
def test_outputs_are_those_of_the_layer(make_layer: MakeLayer, bias: np.ndarray | None) -> None:
    layer = make_layer(5, 3, input_zero=4, weight_scale=np.array([0.5, 0.25, 2.0]), bias=bias)
    sums = np.random.default_rng(0).normal(0, 100, (2, 6, 3))
    beyond = 4 * (layer.weights.astype(int).sum(axis=1) - 5 * layer.weight_zero)
    assert np.array_equal(decoded(sums.transpose(0, 2, 1), layer), layer.decode(sums - beyond).transpose(0, 2, 1))


def test_the_parts_of_outputs_are_their_matrix() -> None:
    sense = [[("bitline", 2, 1), ("bitline", 0, -1)], [("bitline", 1, 1)], [("bitline", 3, -1), ("source", 0, 1)]]
    lines, signs = sense_parts(sense, "bitline")
    matrix = np.zeros((4, 3))
    for line, sign in zip(lines, signs, strict=True):
        np.add.at(matrix, (line, np.arange(3)), sign)
    assert np.array_equal(matrix, sense_matrix(sense, "bitline", 4))
