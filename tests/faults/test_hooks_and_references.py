"""No part of a network is ignored: hooks, functions, aliases and subclasses take part, or are refused by name."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.data import load
from norsim.data.tensors import images_tensor
from norsim.errors import ConfigurationError, PlacementError
from norsim.quantization.quantize import quantize
from norsim.tiling.digital import digital_operations
from norsim.tiling.modules import TiledLinear, digital, tiled_layers
from norsim.tiling.read_noise import ReadNoise
from norsim.training import through_array
from tests.faults.networks import Two, check_same_answers, converted, rows


def hooked(kind: str) -> Two:
    """A network that is wrong without its hooks."""
    net = Two(lambda net, x: net.b(net.a(x)))
    if kind == "forward hook":
        net.a.register_forward_hook(lambda layer, given, out: torch.relu(-out))
    elif kind == "forward hook with keywords":
        net.a.register_forward_hook(lambda layer, given, named, out: out.square(), with_kwargs=True)
    elif kind == "forward pre-hook":
        net.a.register_forward_pre_hook(lambda layer, given: (1 - given[0],))
    elif kind == "pre-hook of keywords":
        net.call = lambda net, x: net.b(net.a(input=x))
        net.a.register_forward_pre_hook(
            lambda layer, given, named: (given, {"input": 1 - named["input"]}), with_kwargs=True
        )
    elif kind == "hook that is always called":
        net.a.register_forward_hook(lambda layer, given, out: 2 * out, always_call=True)
    elif kind == "hook of the whole network":
        net.register_forward_hook(lambda layer, given, out: -out)
    elif kind == "hook that reads the weight":
        net.a.register_forward_hook(lambda layer, given, out: out * layer.weight.abs().mean() * 10)
    elif kind == "hook that calls another layer":
        net.call = lambda net, x: net.a(x)
        net.a.register_forward_hook(lambda layer, given, out: net.b(out))
    elif kind == "method as hook":
        net.a.register_forward_hook(types.MethodType(lambda self, layer, given, out: self.act(out - 0.1), net))
    return net


@pytest.mark.parametrize("kind", [
    "forward hook", "forward hook with keywords", "forward pre-hook", "pre-hook of keywords",
    "hook that is always called", "hook of the whole network", "hook that reads the weight",
    "hook that calls another layer", "method as hook",
])  # fmt: skip
def test_hooks_act_on_quantized_layers_and_on_layers_on_tiles(kind: str) -> None:
    plain = Two(lambda net, x: net.a(x) if kind == "hook that calls another layer" else net.b(net.a(x)))
    without, found = plain(rows()), hooked(kind)(rows())
    assert found.shape != without.shape or not torch.allclose(found, without, atol=0.05)
    check_same_answers(hooked(kind), rows(), rounding=0.05 if "weight" in kind else 1e-4)


def test_hooks_of_layers_count_as_digital_operations() -> None:
    net = hooked("forward hook")
    assert digital_operations(converted(net, rows())[1], rows()) == {"neg": 1, "relu": 1}


def test_hooks_of_attention_act_on_its_output() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.attention.register_forward_hook(lambda layer, given, out: (3 * out[0], None))
            assert self.attention.in_proj_weight is not None

        def forward(self, x: Tensor) -> Tensor:
            x = x.to(self.attention.in_proj_weight.dtype)
            return self.attention(x, x, x)[0]

    inputs = rows(20).reshape(4, 5, 8)
    _, analog = converted(Attends(), inputs)
    with digital(analog):
        found = analog(inputs)
        analog.attention._forward_hooks.clear()
        torch.testing.assert_close(found, 3 * analog(inputs))


def test_layers_whose_forward_is_called_directly() -> None:
    check_same_answers(Two(lambda net, x: net.b.forward(net.act.forward(net.a.forward(x)))), rows())


class Normed(Two):
    """A hook whose closure holds the network itself, with a norm that answers differently in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.norm.running_mean = torch.full((6,), 5.0)
        self.a.register_forward_hook(lambda layer, given, out: self.norm(out))


def test_a_closure_of_a_hook_refers_to_the_copy_in_eval_mode() -> None:
    before = Normed().train()
    quantized, analog = converted(before, rows())
    assert torch.equal(before.norm.running_mean, torch.full((6,), 5.0))
    check_same_answers(before, rows())
    for copy in (quantized, analog):
        hook: Any = next(iter(copy.a._forward_hooks.values()))
        assert hook.__closure__[0].cell_contents is copy


WAYS: dict[str, Callable[[Two], Any]] = {
    "a list": lambda net: [net.a, net.act, net.b],
    "a tuple in a dict": lambda net: {"layers": (net.a, net.act, net.b)},
    "a partial function": lambda net: [partial(net.a), net.act, partial(net.b)],
    "functions": lambda net: [lambda x, layer=net.a: layer(x), net.act, lambda x: net.b(x)],
    "an object": lambda net: types.SimpleNamespace(layers=[net.a, net.act, net.b]),
}


@pytest.mark.parametrize("way", WAYS)
def test_layers_called_through_another_reference_are_on_tiles(way: str) -> None:
    def call(net: Any, x: Tensor) -> Tensor:
        held = net.kept.layers if way == "an object" else net.kept["layers"] if way == "a tuple in a dict" else net.kept
        for step in held:
            x = step(x)
        return x

    net = Two(call)
    net.kept = WAYS[way](net)  # type: ignore[assignment]
    analog = check_same_answers(net, rows())
    assert digital_operations(analog, rows()) == {}


class Slots:
    """An object whose references cannot be listed."""

    __slots__ = ("layer",)

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer


def test_a_layer_called_through_a_reference_out_of_reach_is_named() -> None:
    net = Two(lambda net, x: net.b(net.slots.layer(x)))
    net.slots = Slots(net.a)  # type: ignore[assignment]
    with pytest.raises(PlacementError, match="layer 'a' is called through a reference"):
        quantize(net, [rows()])


class Scaled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class Called(nn.Linear):
    def __call__(self, input: Tensor) -> Any:
        return 2 * super().__call__(input)


class Standardised(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, weight - weight.mean(), bias)


def changed(what: str) -> nn.Module:
    net: Any = Two()
    if what == "forward":
        net.a.forward = lambda x: 2 * functional.linear(x, net.a.weight)
    elif what == "Called overrides __call__":
        net.a = Called(8, 6)
    elif what == "Standardised overrides _conv_forward":
        return nn.Sequential(nn.Unflatten(1, (2, 2, 2)), nn.ModuleDict(), Standardised(2, 3, 1))
    elif what == "computes its weight in a hook":
        weight = net.a.weight.detach()
        del net.a.weight
        net.a.register_forward_pre_hook(lambda layer, given: setattr(layer, "weight", 2 * weight))
        net(rows())
    elif what == "calling the network changes its weight":
        net.a.register_forward_pre_hook(lambda layer, given: layer.weight.data.mul_(0.9).sum().isnan() or None)
    elif what == "attribute 'hidden'":
        net.hidden = [nn.Linear(4, 4)]
        net.call = lambda net, x: net.hidden[0](net.b(net.a(x)))
    elif what == "in training mode after eval":
        net.act = Forgets()
    return net  # type: ignore[no-any-return]


class Forgets(nn.Module):
    """A block that stays in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def train(self, mode: bool = True) -> Any:
        self.drop.train()

    def forward(self, x: Tensor) -> Any:
        return self.drop(x)


@pytest.mark.parametrize("what", [
    "forward", "Called overrides __call__", "Standardised overrides _conv_forward",
    "computes its weight in a hook", "calling the network changes its weight", "attribute 'hidden'",
    "in training mode after eval",
])  # fmt: skip
def test_what_cannot_be_followed_is_refused_by_name(what: str) -> None:
    with pytest.raises(PlacementError, match=rf"(layer|module|network) .*{what}"):
        quantize(changed(what), [rows()])


def test_weights_that_settle_in_the_first_call_are_kept() -> None:
    def call(net: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            net.a.weight.clamp_(-0.1, 0.1)
        return net.b(net.a(x))

    assert float(converted(Two(call), rows())[0].a.weight.detach().abs().max()) == pytest.approx(0.1)


def test_a_forward_around_that_of_torch_is_followed() -> None:
    net: Any = Two()
    net.a = Scaled(8, 6)
    analog = check_same_answers(net, rows())
    assert list(tiled_layers(analog)) == ["a.weight_product", "b"]


def test_functions_with_weights_are_on_the_array() -> None:
    def call(net: Any, x: Tensor) -> Tensor:
        return net.b(torch.relu(functional.linear(x, net.free) + net.a(x)))

    net = Two(call)
    net.free = nn.Parameter(torch.randn(6, 8))
    analog = check_same_answers(net, rows())
    assert digital_operations(analog, rows()) == {"add": 1, "relu": 1} and "free_product" in tiled_layers(analog)


def test_tied_weights_and_a_layer_that_is_used_twice() -> None:
    net = Two(lambda net, x: net.b(torch.relu(net.c(torch.relu(net.d(net.d(x)))))))
    net.c, net.d = nn.Linear(8, 6, bias=False), nn.Linear(8, 8)
    net.c.weight = net.a.weight
    net.a = nn.Identity()
    check_same_answers(net, rows())


def test_another_weight_for_a_call_is_refused() -> None:
    def call(net: Any, x: Tensor) -> Tensor:
        return net.b(torch.func.functional_call(net.a, {"weight": 3 * net.a.weight.detach()}, (x,)))

    _, analog = converted(Two(call), rows())
    with pytest.raises(ConfigurationError, match="layer 'a' was given another weight"):
        digital_operations(analog, rows())


def test_a_train_method_without_result_is_no_problem() -> None:
    class Quiet(Two):
        def train(self, mode: bool = True) -> Any:
            super().train(mode)

    check_same_answers(Quiet(), rows())


def test_fine_tuning_gives_the_circuits_output_to_the_hooks_of_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook acts once, on what the circuit answers."""
    quantized, analog = converted(hooked("forward hook"), rows())
    analog.a.fixed = analog.b.fixed = None
    monkeypatch.setattr(through_array, "effective_weights", lambda grid: torch.zeros(grid.layer.outputs, 1).expand(
        -1, grid.layer.inputs))  # fmt: skip
    monkeypatch.setattr(TiledLinear, "forward", lambda self, x: torch.full((len(x), self.out_features), -7.0))
    seen: list[Tensor] = []
    quantized.b.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    with through_array.through_circuit(quantized, analog, ReadNoise(0)):
        found = quantized(rows())
    torch.testing.assert_close(seen[0], torch.full((12, 6), 7.0))
    torch.testing.assert_close(found, torch.full((12, 4), -7.0))


def test_a_network_that_normalises_its_input_in_place_sees_the_same_images_each_time() -> None:
    def call(net: Any, x: Tensor) -> Tensor:
        x.sub_(0.5).div_(0.1)
        return net.b(net.a(x))

    inputs = rows()
    converted(Two(call), inputs)
    assert torch.equal(inputs, rows())


def test_attributes_of_a_layer_are_kept() -> None:
    net = Two(lambda net, x: net.b(net.a(x) * net.a.gain + net.a.shift))
    net.a.gain = 3.0  # type: ignore[assignment]
    net.a.register_buffer("shift", torch.arange(6.0))
    check_same_answers(net, rows())


@pytest.mark.slow
def test_an_activation_in_a_hook_keeps_its_accuracy() -> None:
    digits = load("digits", "train")
    x, y = images_tensor(digits).flatten(1), torch.from_numpy(digits.labels)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 24), nn.Linear(24, 10))
    net[0].register_forward_hook(lambda layer, given, out: torch.relu(-out))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    right = [(one(x).argmax(1) == y).float().mean() for one in (net, quantize(net, [x]))]
    assert right[0] > 0.95 and right[1] > right[0] - 0.05
