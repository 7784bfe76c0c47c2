"""Converted layers compared with quantized ones; what `convert` keeps, lists and refuses."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.chip.load import load_chip
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.jobs.workers import Threads
from norsim.quantization.forward import forward
from norsim.quantization.modules import QuantConv2d
from norsim.quantization.quantize import quantize
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert
from norsim.tiling.convolutions.modules import TiledConv2d
from norsim.tiling.modules import TiledLayer, TiledLinear, digital, layer_codes, layer_vectors, reading, tiled_layers
from tests.conftest import reader_by, ready

SmallChip = Callable[..., Chip]
Solver = Callable[[Tile, Stimulus], Currents]


def signed(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def equal_to_rounding(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        (1, 1, 0, 1),
        (3, 1, 1, 1),
        (3, 2, 1, 1),
        (2, 3, 2, 1),
        ((3, 2), (2, 1), (1, 2), (1, 2)),
        ((1, 3), (1, 2), (0, 3), (2, 3)),
        (3, 1, "same", 2),
        (3, 1, "valid", 1),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_ideal_convolution_is_the_quantized_forward(
    small_chip: SmallChip, kernel: int, stride: int, padding: int, dilation: int, bias: bool
) -> None:
    """With signed inputs, so that the code of zero is not 0, over many tiles."""
    torch.manual_seed(0)
    images = signed(3, 2, 8, 9)
    quantized = quantize(nn.Conv2d(2, 7, kernel, stride, padding, dilation, bias=bias), [images])
    analog = convert(quantized, small_chip())
    assert isinstance(analog, TiledConv2d) and analog.grid.layer.input_zero > 0
    with torch.no_grad(), digital(analog):
        equal_to_rounding(analog(images), quantized(images))


CONVOLUTIONS = {
    "grouped": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (3, 4, 6, 5)),
    "depthwise": (nn.Conv2d(4, 8, (3, 2), stride=2, padding=1, groups=4), (3, 4, 7, 6)),
    "reflect": (nn.Conv2d(2, 5, 3, padding=2, padding_mode="reflect"), (2, 2, 5, 6)),
    "replicate": (nn.Conv2d(2, 5, 3, padding=(0, 2), padding_mode="replicate"), (2, 2, 5, 6)),
    "circular": (nn.Conv2d(2, 5, 3, padding="same", dilation=2, padding_mode="circular"), (2, 2, 5, 6)),
    "1d": (nn.Conv1d(3, 5, 5, stride=2, padding=2, dilation=2), (3, 3, 20)),
    "1d grouped": (nn.Conv1d(4, 4, 3, padding=1, groups=4, padding_mode="circular", bias=False), (2, 4, 9)),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_every_kind_of_convolution_is_the_quantized_forward(small_chip: SmallChip, kind: str) -> None:
    """Grouped, 1D, and with padding other than zeros, each over several tiles."""
    convolution, shape = CONVOLUTIONS[kind]
    activations = signed(*shape)
    quantized = quantize(convolution, [activations])
    analog = convert(quantized, small_chip())
    assert isinstance(analog, TiledLayer) and len(analog.grid.tiles) > 1
    with torch.no_grad(), digital(analog):
        equal_to_rounding(analog(activations), quantized(activations))
        # Tiles are calibrated and read with the record.
        codes = layer_codes(analog, activations)[""]
        outputs = analog.real(analog.grid.multiply(codes, reader_by("ideal")))
        equal_to_rounding(outputs.reshape(len(activations), -1, outputs.shape[-1]).transpose(1, 2).reshape(-1),
                          quantized(activations).reshape(-1))  # fmt: skip


@pytest.mark.parametrize("kind", ["grouped", "depthwise", "1d"])
def test_every_kind_of_convolution_on_a_lossless_array_is_the_integers(
    small_chip: SmallChip, lossless: tuple[str, ...], kind: str
) -> None:
    convolution, shape = CONVOLUTIONS[kind]
    activations = signed(*shape)[:1]
    analog = convert(quantize(convolution, [activations]), small_chip(*lossless, "adc.bits=16"))
    codes = layer_codes(analog, activations)[""]
    expected = analog.grid.multiply(codes, reader_by("ideal"))
    for backend in ("nodal", "ngspice"):
        found = analog.grid.program().multiply(codes, reader_by(backend, Threads(2)))
        assert np.abs(found - expected).max() < 0.25


@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 12), (12,)])
def test_ideal_linear_layer_is_the_quantized_forward(small_chip: SmallChip, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    quantized = quantize(nn.Linear(12, 7), [signed(40, 12)])
    analog = convert(quantized, small_chip())
    assert isinstance(analog, TiledLinear) and analog.grid.layer.input_zero > 0
    with torch.no_grad(), digital(analog):
        equal_to_rounding(analog(signed(*shape, seed=2)), quantized(signed(*shape, seed=2)))


@pytest.mark.parametrize("zero_point", ["reference", "differential"])
def test_convolution_on_a_lossless_array_is_the_quantized_forward(
    small_chip: SmallChip, lossless: tuple[str, ...], zero_point: str
) -> None:
    """Within a quarter of the step of one weight code times one activation code."""
    torch.manual_seed(0)
    images = signed(2, 3, 3, 3)
    quantized = quantize(nn.Conv2d(3, 2, 2, padding=(0, 1)), [images])
    analog = convert(quantized, small_chip(*lossless, "adc.bits=16", f"mapping.scheme={zero_point}"))
    layer = analog.grid.layer
    assert layer.input_zero > 0 and len(analog.grid.tiles) == 2
    with reading(ready(analog), reader_by("ngspice", Threads(2))), torch.no_grad():
        error = (analog(images) - quantized(images)).abs().amax(dim=(0, 2, 3)).numpy()
    assert (error < 0.25 * layer.weight_scale * layer.input_scale).all()


class Residual(nn.Module):
    """Two convolutions, one of them shared, an addition, a norm that is not folded, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1)
        self.body = nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(3), act=nn.ReLU(), conv=nn.Conv2d(3, 3, 1)))
        self.again = self.body.conv
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.again(self.body(x))
        result: Tensor = self.head(x.mean(dim=(2, 3)))
        return result


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(4, 1, 5, 5, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def network(images: Tensor) -> nn.Module:
    torch.manual_seed(1)
    return quantize(Residual().eval(), [images])


@pytest.fixture(scope="module")
def chip() -> Chip:
    return load_chip("etox65")


def test_a_whole_network_on_ideal_tiles_is_the_quantized_network(
    network: nn.Module, images: Tensor, chip: Chip
) -> None:
    analog = convert(network, chip)
    with torch.no_grad(), digital(analog):
        equal_to_rounding(analog(images), network(images))


def test_convert_keeps_names_sharing_and_the_original(network: nn.Module, chip: Chip) -> None:
    analog = convert(network, chip)
    assert [name for name, _ in analog.named_modules()] == [name for name, _ in network.named_modules()]
    assert list(tiled_layers(analog)) == ["stem", "body.conv", "head"]
    assert [layer.grid.layer.name for layer in tiled_layers(analog).values()] == ["stem", "body.conv", "head"]
    assert analog.again is analog.body.conv
    assert isinstance(analog.stem, TiledConv2d) and isinstance(analog.head, TiledLinear)
    assert isinstance(network.stem, QuantConv2d) and not analog.training


def test_a_layer_whose_backend_is_fixed_keeps_it(
    network: nn.Module, images: Tensor, chip: Chip, register: Callable[[Solver], str], switched: Solver
) -> None:
    """The reader reads the others; the fixed one stays digital."""
    seen: list[str] = []

    def watching(tile: Tile, stimulus: Stimulus) -> Currents:
        seen.append(tile.name.split(",")[0])
        return switched(tile, stimulus)

    name = register(watching)
    analog = ready(convert(network, chip, {"stem": {"backend": "ideal"}}))
    with reading(analog, reader_by(name)), torch.no_grad():
        analog(images)
        readers = {key: layer.reader_in_use() for key, layer in tiled_layers(analog).items()}
        assert {key: reader.backend.name for key, reader in readers.items()} == {
            "stem": "ideal", "body.conv": name, "head": name,
        }  # fmt: skip
    assert set(seen) == {"layer body.conv", "layer head"}
    assert [layer.reader for layer in tiled_layers(analog).values()] == [None, None, None]


def test_reading_restores_the_readers_after_an_error(network: nn.Module, chip: Chip) -> None:
    analog = convert(network, chip)
    with pytest.raises(RuntimeError, match="midway"), reading(analog, reader_by("ngspice")):
        raise RuntimeError("midway")
    assert [layer.reader for layer in tiled_layers(analog).values()] == [None, None, None]


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ({"stam": {"backend": "ideal"}}, "no layer 'stam' to override; the layers are stem, body.conv, head"),
        ({"body": {"backend": "ideal"}}, "no layer 'body' to override"),
        ({"stem": {"backnd": "ideal"}}, "backnd"),
        ({"stem": {"backend": "hspice"}}, "no backend 'hspice'"),
    ],
)
def test_an_invalid_override_is_refused(
    network: nn.Module, chip: Chip, overrides: dict[str, dict[str, str]], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        convert(network, chip, overrides)


def test_a_network_without_quantized_layers_is_refused(chip: Chip) -> None:
    with pytest.raises(ConfigurationError, match="no quantized layers: call norsim.quantize"):
        convert(nn.Sequential(nn.Linear(2, 2)), chip)


def test_layer_codes_are_those_of_the_digital_network(network: nn.Module, images: Tensor, chip: Chip) -> None:
    analog = convert(network, chip)
    codes = layer_codes(analog, images)["head"]
    with torch.no_grad():
        x = network.stem(images)
        pooled = (x + network.again(network.body(x))).mean(dim=(2, 3))
        assert np.array_equal(codes, network.head.input_codes(pooled).numpy())
    assert analog.head.record is None
    with pytest.raises(ConfigurationError, match="no layer 'foot' on the array; the layers are stem, body.conv, head"):
        layer_codes(analog, images, ["foot"])


def test_codes_of_large_images_are_recorded_in_parts(
    network: nn.Module, images: Tensor, chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of one pass, also of a layer that is called twice; patches are not copied."""
    analog = convert(network, chip)
    whole = layer_vectors(analog, images)
    monkeypatch.setattr("norsim.tiling.modules.VALUES_AT_ONCE", 2 * images[0].numel())
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr("norsim.tiling.modules.forward", lambda *given: calls.append(len(given[1])) or forward(*given))
        parts = layer_vectors(analog, images)
    assert calls == [2, 2] and len(parts["body.conv"]) == 2 * 4 * 25
    for name, vectors in whole.items():
        assert np.array_equal(parts[name][:], vectors[:])
    assert parts["stem"].codes.size == whole["stem"].codes.size == 4 * 7 * 7


def test_layer_codes_read_no_array_even_with_a_fixed_backend(
    network: nn.Module, images: Tensor, chip: Chip, register: Callable[[Solver], str]
) -> None:
    """Calibration uses the activations of the digital network, so no tile is read for them."""

    def forbidden(tile: Tile, stimulus: Stimulus) -> Currents:
        raise AssertionError(f"{tile.name} was read")

    expected = layer_codes(convert(network, chip), images, ["head"])["head"]
    analog = convert(network, chip, {"stem": {"backend": register(forbidden)}})
    assert np.array_equal(layer_codes(analog, images)["head"], expected)


def test_a_run_observes_layers_with_a_fixed_backend(
    network: nn.Module, images: Tensor, chip: Chip, register: Callable[[Solver], str], switched: Solver
) -> None:
    """A layer that is always read on the array is part of the verification like any other."""
    seen: list[str] = []
    analog = ready(convert(network, chip, {"head": {"backend": register(switched)}}))
    with (
        reading(analog, reader_by("ideal", observe=lambda part, *_: seen.append(part.name))),
        torch.no_grad(),
    ):
        analog(images)
    assert seen == ["head tile 0,0"]


def test_calibrate_fits_all_layers_except_digital_ones(
    network: nn.Module, images: Tensor, chip: Chip, register: Callable[[Solver], str], switched: Solver
) -> None:
    analog = convert(network, chip, {"stem": {"backend": "ideal"}})
    before = {name: layer.grid for name, layer in tiled_layers(analog).items()}
    progress: list[tuple[int, int]] = []
    calibrate(analog, images, register(switched), seed=3, progress=lambda done, total: progress.append((done, total)))
    after = {name: layer.grid for name, layer in tiled_layers(analog).items()}
    assert after["stem"] is before["stem"]
    for name in ("body.conv", "head"):
        assert after[name].tiles[0].adcs != before[name].tiles[0].adcs
        assert (after[name].tiles[0].gain != 1).any()
    assert progress == [(1, 1), (1, 1)]


def test_calibration_depends_only_on_seed_and_name(
    network: nn.Module, images: Tensor, chip: Chip, register: Callable[[Solver], str], switched: Solver
) -> None:
    name = register(switched)

    def gains(seed: int, jobs: int, overrides: dict[str, dict[str, str]]) -> np.ndarray:
        analog = convert(network, chip, overrides)
        calibrate(analog, images, name, seed=seed, workers=Threads(jobs))
        return tiled_layers(analog)["body.conv"].grid.tiles[0].gain

    assert np.array_equal(gains(0, 1, {}), gains(0, 2, {"stem": {"backend": "ideal"}}))
    assert not np.array_equal(gains(0, 1, {}), gains(1, 1, {}))


def test_a_converted_layer_has_no_gradient(network: nn.Module, chip: Chip) -> None:
    layer = convert(network, chip).head
    assert isinstance(layer, TiledLayer) and not any(one.requires_grad for one in layer.parameters())
    with digital(layer):
        assert not layer(torch.ones(2, 3, requires_grad=True)).requires_grad
