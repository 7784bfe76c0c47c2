"""The quantized modules: integers equal to those of the forward, gradients, placement, post-training accuracy."""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.data import load
from norsim.errors import ConfigurationError, PlacementError
from norsim.quantization.layer import QuantizedLayer
from norsim.quantization.modules import QuantConv2d, QuantizedOperands, QuantLinear, positive, quantized_layers
from norsim.quantization.quantize import quantize
from norsim.training.images import to_input
from norsim.training.recipes import Recipe
from norsim.training.train import predict, train
from norsim.zoo.registry import spec_of


def small_network() -> nn.Module:
    torch.manual_seed(0)
    parts: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(3, 8, 3, padding=1, bias=False)),
        ("act1", nn.ReLU()),
        ("conv2", nn.Conv2d(8, 12, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=4)),
        ("act2", nn.GELU()),
        ("flat", nn.Flatten()),
        ("fc", nn.Linear(12 * 5 * 11, 10)),
    ]
    return nn.Sequential(OrderedDict(parts))


def images(count: int = 32, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(seed))


def from_integers(layer: QuantizedLayer, codes: Tensor) -> np.ndarray:
    """Return outputs of `layer` for input `codes`, by integer arithmetic on unfolded patches, in float64."""
    weights = layer.weights.astype(np.int64) - layer.weight_zero
    if layer.geometry is None:
        return layer.decode((codes.numpy().astype(np.int64) - layer.input_zero) @ weights.T)
    geometry = layer.geometry
    pad = (geometry.padding[1], geometry.padding[1], geometry.padding[0], geometry.padding[0])
    padded = functional.pad(codes.to(torch.float64), pad, value=layer.input_zero)
    patches = functional.unfold(padded, geometry.kernel, geometry.dilation, 0, geometry.stride)
    patches = patches.transpose(1, 2).reshape(len(codes), -1, geometry.groups, geometry.inputs)
    grouped = weights.reshape(geometry.groups, -1, geometry.inputs)
    sums = np.einsum("npgi,goi->npgo", patches.numpy().astype(np.int64) - layer.input_zero, grouped)
    return layer.decode(sums.reshape(len(codes), -1, layer.outputs)).transpose(0, 2, 1)


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(4, 4), (8, 8), (2, 3)])
def test_integers_reproduce_the_forward(weight_bits: int, activation_bits: int) -> None:
    network = quantize(small_network(), [images()], weight_bits, activation_bits)
    # Off the calibrated grid, as after training.
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, QuantizedOperands):
                part.weight_zero.add_(0.5)
                part.weight_scale.mul_(-1.01)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    for name, part in network.named_modules():
        if isinstance(part, QuantizedOperands):
            part.register_forward_hook(lambda m, i, o, name=name: seen.update({name: (i[0], o)}))
    with torch.no_grad():
        network(images(seed=2))
    layers = quantized_layers(network)
    assert list(layers) == ["conv1", "conv2", "fc"]
    for name, layer in layers.items():
        part = network.get_submodule(name)
        assert isinstance(part, QuantizedOperands)
        inputs, outputs = seen[name]
        codes = part.input_codes(inputs)
        assert np.array_equal(codes.numpy(), layer.encode(inputs.numpy()))
        assert int(codes.max()) < 2**activation_bits
        expected = from_integers(layer, codes).reshape(outputs.shape)
        np.testing.assert_allclose(outputs.numpy(), expected, rtol=2e-5, atol=2e-5 * float(outputs.abs().max()))


@pytest.mark.parametrize("zero", [-3.0, 2.5, 3.5, 7.49, 7.51, 40.0])
def test_weight_codes_are_those_of_the_kernel_for_any_zero_point(zero: float) -> None:
    layer = QuantLinear(200, 5)
    with torch.no_grad():
        layer.weight_zero.fill_(zero)
        # Half of the weights are exactly between two codes.
        layer.weight[:, ::2] = torch.randint(-20, 20, (5, 100)) * 0.5 * layer.weight_scale[:, None]
        layer.weight[:, 1::2] *= 20
        real = layer.quantized_weight()
    exported = layer.quantized_layer("fc")
    steps = exported.weights.astype(np.float32) - np.float32(exported.weight_zero)
    assert np.array_equal(steps * exported.weight_scale[:, None], real.numpy())


def test_zero_padding_is_the_code_of_zero() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False))
    quantized = quantize(network, [torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))])
    layer = quantized_layers(quantized)["0"]
    assert layer.input_zero > 0
    with torch.no_grad():
        outputs = quantized(torch.zeros(1, 1, 6, 6))
    assert torch.equal(outputs, torch.zeros(1, 1, 6, 6))


def test_unsigned_inputs_have_zero_point_zero_and_signed_ones_do_not() -> None:
    layers = quantized_layers(quantize(small_network(), [images()]))
    assert [layer.input_zero for layer in layers.values()][:2] == [0, 0]
    assert layers["fc"].input_zero > 0  # GELU goes below zero


def test_one_negative_value_among_many_is_seen() -> None:
    batch = torch.ones(4, 50_000)
    batch[2, 777] = -0.5
    assert quantized_layers(quantize(nn.Sequential(nn.Linear(50_000, 1)), [batch]))["0"].input_zero > 0


def test_gradients_reach_weight_scales_and_zero_point() -> None:
    network = quantize(small_network(), [images()]).train()
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, QuantizedOperands):
                part.weight_scale.mul_(0.7)  # so that weights clip, which alone moves a zero point
    torch.autograd.backward(network(images()).square().sum())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().max() > 0, name


def test_scale_gradient_is_that_of_lsq() -> None:
    layer = QuantLinear(6, 2, bias=False)
    with torch.no_grad():
        layer.weight_scale.fill_(0.1)
        layer.weight_zero.fill_(7)
        layer.weight.copy_(torch.tensor([[0.04, 0.16, -0.33, 5.0, -5.0, 0.0]] * 2))
    torch.autograd.backward(layer.quantized_weight().sum())
    # Esser et al. 2020, equation 3: round(v/s) - v/s inside, the clipped code minus z outside.
    terms = [0 - 0.4, 2 - 1.6, -3 + 3.3, 15 - 7, 0 - 7, 0]
    expected = sum(terms) / np.sqrt(6 * 15)
    assert layer.weight_scale.grad is not None and layer.weight_zero.grad is not None
    np.testing.assert_allclose(layer.weight_scale.grad.numpy(), [expected, expected], rtol=1e-4)
    # Each of the two clipped weights of both outputs moves by minus one scale.
    np.testing.assert_allclose(layer.weight_zero.grad.numpy(), [-4 * 0.1 / np.sqrt(6 * 15)], rtol=1e-4)


def test_scale_that_crosses_zero_stays_usable() -> None:
    assert positive(torch.tensor([-0.5, 0.0, 0.5])).tolist() == pytest.approx([0.5, 1e-8, 0.5])


def test_copy_is_deep_in_eval_mode_and_draws_no_random_numbers() -> None:
    network = small_network().train()
    before = copy.deepcopy(network.state_dict())
    state = torch.get_rng_state()
    quantized = quantize(network, ((batch, None) for batch in torch.split(images(), 8)))
    assert torch.equal(state, torch.get_rng_state())
    assert network.training and not any(part.training for part in quantized.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert type(network.get_submodule("conv1")) is nn.Conv2d
    assert isinstance(quantized.get_submodule("conv1"), QuantConv2d)


def test_shared_and_root_modules() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.rest = nn.Sequential(nn.ReLU(), self.first)
            self.again = self.first

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.again(self.rest(self.first(x)))
            return result

    quantized = quantize(Shared(), [torch.randn(16, 4, generator=torch.Generator().manual_seed(0))])
    assert quantized.first is quantized.again is quantized.get_submodule("rest.1")
    assert list(quantized_layers(quantized)) == ["first"]
    assert isinstance(quantize(nn.Linear(4, 2), [torch.rand(3, 4)]), QuantLinear)


def test_parametrized_weight_becomes_a_plain_one() -> None:
    linear = nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))
    quantized = quantize(nn.Sequential(linear), [torch.rand(3, 4)])
    assert isinstance(quantized.get_submodule("0"), QuantLinear)


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        (type("Odd", (nn.ConvTranspose2d,), {"forward": lambda self, x: x})(3, 4, 3), "Odd overrides forward"),
        (type("Odd", (nn.Linear,), {"__call__": lambda self, x: x})(3, 3), "overrides __call__"),
        (nn.LazyConv2d(3, 2), "has no weights yet"),
        (QuantConv2d(3, 4, 3), "already quantized"),
    ],
)
def test_layer_without_a_place_is_named(layer: nn.Module, problem: str) -> None:
    with pytest.raises(PlacementError, match=f"'body.odd'.*{problem}"):
        quantize(nn.ModuleDict({"body": nn.ModuleDict({"odd": layer})}), [torch.rand(2, 3, 8, 8)])


def test_layer_that_calibration_never_reached_is_named() -> None:
    with pytest.raises(PlacementError, match="'spare' got no input"):
        quantize(_Unreached(), [torch.rand(2, 3)])


class _Unreached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.used(x)
        return result


def test_same_padding_is_given_in_pixels() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, (3, 5), padding="same", dilation=2))
    geometry = quantized_layers(quantize(network, [images()]))["0"].geometry
    assert geometry is not None and geometry.padding == (2, 4)


def test_unusable_calibration_and_widths() -> None:
    network = small_network()
    for calibration, problem in (
        ([], "empty"),
        (["a"], "a batch holds a str; expected a tensor of inputs"),
        ("images", "data is a str; expected a DataLoader"),
        ([images() * torch.nan], "not finite"),
    ):
        with pytest.raises(ConfigurationError, match=problem):
            quantize(network, calibration)
    for bits in (0, 9, 4.0):
        with pytest.raises(ConfigurationError, match="1 to 8"):
            quantize(network, [images()], weight_bits=bits)  # type: ignore[arg-type]


@pytest.mark.slow
def test_post_training_quantization_keeps_most_predictions(tmp_path: Path) -> None:
    recipe = Recipe(4, 0, 64, float_rate=0.1, quantized_rate=0.01)
    train_set, test_set = load("digits", "train"), load("digits", "test")
    wanted = train(spec_of("digits-cnn"), train_set, test_set, recipe, tmp_path)
    assert (wanted.float_predictions == test_set.labels).mean() > 0.9
    calibration = [to_input(torch.from_numpy(train_set.images), 16)]
    for bits, share in ((8, 0.99), (4, 0.95)):
        found = predict(quantize(wanted.float_network, calibration, bits, bits), test_set)
        assert (found == wanted.float_predictions).mean() >= share


def test_torch_keeps_its_number_of_threads() -> None:
    """numba would set it to its own, and results of a training depend on it."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        quantize(small_network(), [images()])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_codes_of_activations_reach_to_the_percentile() -> None:
    """Of the 32 x 243 even inputs of the first layer, one in 32 is above 10."""
    data = torch.linspace(0, 1, 32 * 243).reshape(32, 3, 9, 9)
    data[0] += 10
    for given, end in ((95, 1.0), ("100", 10.0)):
        layer = quantize(small_network(), [data], activation_range=given).get_submodule("conv1")
        assert isinstance(layer, QuantizedOperands)
        assert layer.input_scale.item() * 15 == pytest.approx(end, abs=0.1)
    for wrong in (50, 100.1, "wide", float("nan"), True, None):
        with pytest.raises(ConfigurationError, match="expected 'mse', or a percentile"):
            quantize(small_network(), [data], activation_range=wrong)  # type: ignore[arg-type]
