"""Biases and batch norms after quantization: means and variances are those of the float network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from norsim.quantization.post_training import observe
from norsim.quantization.post_training.moments import moments_of
from norsim.quantization.quantize import quantize, replace_layers

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}


class Net(nn.Module):
    """Convolutions with and without biases and batch norms, a linear layer, and a layer that is called twice."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        convolution = nn.Conv1d if axes == 1 else nn.Conv2d
        self.first = convolution(3, 6, 3, bias=False)
        self.norm = NORMS[axes](6)
        self.second = convolution(6, 8, 3)
        self.twice = nn.Linear(8, 8)
        self.last = nn.Linear(8, 5)
        self.last_norm = nn.BatchNorm1d(5, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(torch.relu(self.norm(self.first(x)))).relu().flatten(2).mean(2)
        found: Tensor = self.last_norm(self.last(torch.relu(self.twice(torch.relu(self.twice(x))))))
        return found


def network_and_batches(axes: int = 2) -> tuple[Net, list[Tensor]]:
    """Return a network whose batch norms know its activations, and three batches of its inputs."""
    torch.manual_seed(3)
    network = Net(axes)
    batches = [torch.randn(size, 3, *[9] * axes) for size in (40, 40, 20)]
    for inputs in batches * 20:
        network(inputs)
    return network.eval(), batches


@pytest.mark.parametrize("axes", [1, 2])
def test_means_and_variances_are_those_of_the_float_network(axes: int) -> None:
    network, batches = network_and_batches(axes)
    one = torch.cat(batches)
    quantized, before = quantize(network, one, 3, 3), replace_layers(network, 3, 3)
    expected, found = moments_of(network, one), moments_of(quantized, one)
    assert set(expected) == {"first", "norm", "second", "last", "last_norm"} == set(found)
    for name in ("second", "last"):
        torch.testing.assert_close(found[name].mean, expected[name].mean, rtol=0, atol=1e-5)
    for name in ("norm", "last_norm"):
        old, new = before.get_submodule(name), quantized.get_submodule(name)
        for moments, norm in ((expected, old), (found, new)):
            scale = 1 / torch.sqrt(norm.running_var)
            moments[name] = type(moments[name])(
                (moments[name].mean - norm.running_mean) * scale, moments[name].variance * scale**2
            )
        torch.testing.assert_close(found[name].mean, expected[name].mean, rtol=0, atol=1e-3)
        torch.testing.assert_close(found[name].variance, expected[name].variance, rtol=1e-3, atol=0)


def test_outputs_come_nearer_to_those_of_the_float_network(monkeypatch: pytest.MonkeyPatch) -> None:
    network, batches = network_and_batches()
    unseen = torch.randn(200, 3, 9, 9)
    wanted = network(unseen).detach()
    corrected = quantize(network, batches, 3, 3)
    monkeypatch.setattr("norsim.quantization.quantize.correct", lambda *_: None)
    plain = quantize(network, batches, 3, 3)
    error, error_before = (float((one(unseen).detach() - wanted).square().mean()) for one in (corrected, plain))
    assert error < 0.8 * error_before


def test_only_biases_and_statistics_change(monkeypatch: pytest.MonkeyPatch) -> None:
    network, batches = network_and_batches()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    corrected = quantize(network, batches, 3, 3).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    monkeypatch.setattr("norsim.quantization.quantize.correct", lambda *_: None)
    plain = quantize(network, batches, 3, 3).state_dict()
    changed = {name for name, value in corrected.items() if not torch.equal(value, plain[name])}
    # The bias of `last` leaves nothing to correct in the mean after it.
    expected = {"second.bias", "last.bias", "norm.running_mean", "norm.running_var", "last_norm.running_var"}
    assert changed - {"last_norm.running_mean"} == expected


def test_data_that_can_be_read_once_gives_the_same_network() -> None:
    network, batches = network_and_batches()

    def once() -> Iterator[Tensor]:
        yield from batches

    one, other = quantize(network, batches, 3, 3).state_dict(), quantize(network, once(), 3, 3).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_some_of_many_inputs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    network, batches = network_and_batches()
    monkeypatch.setattr(observe, "KEPT_INPUTS", 50)
    assert list(map(len, observe.observe_inputs(network, batches)[1])) == [40, 40]
    monkeypatch.setattr(observe, "KEPT_BYTES", 1)
    assert list(map(len, observe.observe_inputs(network, batches)[1])) == [40]


def test_a_channel_that_is_always_the_same_keeps_its_variance() -> None:
    network, batches = network_and_batches()
    with torch.no_grad():
        network.first.weight[2] = 0
        network.norm.running_var[2] = 0.7
    quantized = quantize(network, batches, 3, 3)
    assert float(quantized.get_submodule("norm").running_var[2]) == pytest.approx(0.7)
    assert torch.isfinite(quantized(batches[0])).all()
