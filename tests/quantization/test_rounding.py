"""Learned rounding brings the layers' outputs nearer to the float network's, and leaves all else as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from norsim.errors import ConfigurationError
from norsim.quantization.modules import positive, quantized_operands
from norsim.quantization.post_training import rounding
from norsim.quantization.post_training.rounding import mean_distance
from norsim.quantization.quantize import quantize


class Net(nn.Module):
    """A residual convolution, and a layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.middle = nn.Linear(72, 8)
        self.twice = nn.Linear(8, 8)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(self.middle(torch.relu(x + self.second(x)).flatten(1)))
        found: Tensor = self.last(torch.relu(self.twice(torch.relu(self.twice(x)))))
        return found


def network_and_inputs() -> tuple[Net, list[Tensor], Tensor]:
    """Return a network, three batches of its inputs, and other inputs."""
    torch.manual_seed(4)
    network = Net().eval()
    return network, [torch.randn(size, 3, 3, 3) for size in (200, 200, 60)], torch.randn(200, 3, 3, 3)


def test_outputs_come_nearer_and_weights_stay_near() -> None:
    network, batches, others = network_and_inputs()
    for value in network.parameters():
        value.requires_grad_(value is not network.first.bias)
    state = torch.random.get_rng_state()
    steps: list[tuple[str, int, int]] = []
    nearest = quantize(network, batches, 2, 4)
    with torch.no_grad():
        learned = quantize(network, batches, 2, 4, learned_rounding=True, report=lambda *some: steps.append(some))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert mean_distance(learned, network, [others]) < 0.9 * mean_distance(nearest, network, [others])
    before, after = quantized_operands(nearest), quantized_operands(learned)
    changed = [int((one.weight_codes() != after[name].weight_codes()).sum()) for name, one in before.items()]
    assert min(changed) > 0
    for name, one in before.items():
        step = positive(one.weight_scale).view(-1, *[1] * (one.weight.ndim - 1))
        assert ((after[name].weight - one.weight).abs() <= 1.0001 * step).all()
        assert after[name].weight.grad is None
        assert one.bias is None or torch.equal(after[name].bias, one.bias)
    assert [one.requires_grad for one in learned.parameters()] == [one.requires_grad for one in nearest.parameters()]
    assert steps[-1][0] == "learn rounding" and steps[-1][1] == steps[-1][2] - 1


def test_a_network_that_gets_no_nearer_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates far too large; twice, because nothing is drawn from the caller's random state."""
    network, batches, _ = network_and_inputs()
    monkeypatch.setattr(rounding, "STEPS", 3)
    learned, again = (quantize(network, batches, learned_rounding=True) for _ in range(2))
    monkeypatch.setattr(rounding, "SCALE_RATE", 10.0)
    stayed, nearest = quantize(network, batches, learned_rounding=True), quantize(network, batches)
    for one, other, equal in ((learned, again, True), (stayed, nearest, True), (learned, nearest, False)):
        states = one.state_dict(), other.state_dict()
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items()) is equal


def test_inference_mode_is_refused() -> None:
    network, batches, _ = network_and_inputs()
    with torch.inference_mode(), pytest.raises(ConfigurationError, match="by gradients"):
        quantize(network, batches, learned_rounding=True)


def test_a_network_of_several_inputs_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Halves(nn.Module):
        """`Net` for two parts of an image."""

        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, low: Tensor, high: Tensor) -> Tensor:
            found: Tensor = self.net(torch.cat([low, high], 2))
            return found

    monkeypatch.setattr(rounding, "STEPS", 20)
    network, batches, others = network_and_inputs()
    parts = [{"low": some[:, :, :1], "high": some[:, :, 1:]} for some in (*batches, others)]
    alone = quantize(network, batches, 2, 4, learned_rounding=True)
    found = quantize(Halves(network), parts[:-1], 2, 4, learned_rounding=True)
    expected = {f"net.{name}": value for name, value in alone.state_dict().items()}
    assert expected.keys() == found.state_dict().keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())
    nearest = quantize(network, batches, 2, 4)
    assert mean_distance(found, Halves(network), parts[-1:]) < mean_distance(nearest, network, [others])
