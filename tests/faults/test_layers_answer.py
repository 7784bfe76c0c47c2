"""Layers on tiles answer a forward as torch's layers do, in whatever way it asks or calls them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import norsim
from norsim.errors import ConfigurationError
from norsim.tiling.modules import digital
from tests.faults.networks import Two, check_same_answers, converted, pictures, rows


def plainly(net: Any, x: Tensor) -> Any:
    return net.b(torch.relu(net.a(x)))


def in_autocast(net: Any, x: Tensor) -> Any:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = net.a(x)
        assert found.dtype == torch.bfloat16
        return net.b(found.relu()).float()


def in_two_types(net: Any, x: Tensor) -> Any:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = net.a(x.bfloat16())
    return net.b(found.float())


def with_a_penalty(net: Any, x: Tensor) -> Any:
    return plainly(net, x) + 0 * sum(one.square().sum() for one in net.parameters())


def by_geometry(net: Any, x: Tensor) -> Any:
    assert [net.a.in_features, net.a.out_features, tuple(net.a.weight.shape)] == [8, 6, (6, 8)]
    return plainly(net, x.view(-1, net.a.in_features))[:, : net.b.out_features]


def by_kind(net: Any, x: Tensor) -> Any:
    for part in net.children():
        x = part(x) if isinstance(part, nn.Linear) else torch.relu(x)
    return x


def with_an_empty_batch(net: Any, x: Tensor) -> Any:
    assert net.a(x[:0]).shape == (0, 6)
    return plainly(net, x)


def one_vector_at_a_time(net: Any, x: Tensor) -> Any:
    return torch.stack([plainly(net, one) for one in x])


def in_three_axes(net: Any, x: Tensor) -> Any:
    return plainly(net, x[:, None].expand(-1, 3, -1)).mean(1)


FORWARDS: dict[str, Callable[[Any, Tensor], Any]] = {
    "the weight's type": lambda net, x: plainly(net, x.to(net.a.weight.dtype)),
    "the weight's device": lambda net, x: plainly(net, x.to(net.b.weight.device)),
    "the bias": lambda net, x: plainly(net, x) + 0 * net.b.bias,
    "the first parameter": lambda net, x: plainly(net, x.to(next(net.parameters()))),
    "a keyword": lambda net, x: net.b(input=net.a(input=x).relu()),
    "the weight's data": lambda net, x: plainly(net, x.type_as(net.a.weight.data)),
    "a gradient": lambda net, x: plainly(net, x if net.a.weight.grad is None else -x),
    "autocast": in_autocast, "two types": in_two_types, "a penalty": with_a_penalty, "geometry": by_geometry,
    "kinds": by_kind, "an empty batch": with_an_empty_batch, "one vector": one_vector_at_a_time,
    "three axes": in_three_axes, "names": lambda net, x: plainly(net, x) * (1 + ("a" not in dict(net.named_modules()))),
    "inference": lambda net, x: torch.inference_mode()(plainly)(net, x).clone(),
}  # fmt: skip


@pytest.mark.parametrize("asked", FORWARDS)
def test_a_forward_can_ask_for(asked: str) -> None:
    check_same_answers(Two(FORWARDS[asked]), rows(), rounding=2e-2 if asked in ("autocast", "two types") else 1e-4)


class Convolves(nn.Module):
    """Asks convolutions for everything that torch's have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(4, 6, 3, 2, 1, groups=2, padding_mode="reflect"), nn.ReLU(), nn.Conv2d(6, 2, 1)
        )
        self.line = nn.Conv1d(2, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        first = self.body[0]
        assert isinstance(first, nn.Conv2d) and len(self.body) == 3 and isinstance(self.line, nn.Conv1d)
        asked = (first.in_channels, first.out_channels, first.kernel_size, first.stride, first.padding, first.groups)
        assert asked == (4, 6, (3, 3), (2, 2), (1, 1), 2) and first.padding_mode == "reflect"
        assert first.weight.shape == (6, 2, 3, 3) and self.line.weight.shape == (3, 2, 3) and first.dilation == (1, 1)
        for part in self.body:
            x = part(x)
        return self.line(x.flatten(2)).flatten(1)


def test_convolutions_answer_with_their_geometry() -> None:
    check_same_answers(Convolves(), pictures(4, 4))


def test_the_weight_of_a_layer_on_tiles_is_what_its_cells_hold() -> None:
    quantized, analog = converted(Two(), rows())
    for name in ("a", "b"):
        torch.testing.assert_close(getattr(analog, name).weight, getattr(quantized, name).quantized_weight().detach())
        assert torch.equal(getattr(analog, name).bias, getattr(quantized, name).bias)
        assert not any(one.requires_grad for one in getattr(analog, name).parameters())
    assert not any("weight" in key for key in analog.state_dict())
    analog.load_state_dict(analog.state_dict())
    for again in (copy.deepcopy(analog), pickle.loads(pickle.dumps(converted(Two(), rows())[1]))):
        with digital(again):
            assert again(rows()).shape == (12, 4)


def test_another_weight_is_refused_by_name() -> None:
    _, analog = converted(Two(), rows())
    analog.b.weight = nn.Parameter(torch.zeros(4, 6))
    with digital(analog), pytest.raises(ConfigurationError, match="layer 'b' was given another weight or bias"):
        analog(rows())


def test_not_a_number_has_no_code() -> None:
    _, analog = converted(Two(lambda net, x: net.b(net.a(x) * x.sum(1, keepdim=True).sqrt())), rows())
    with digital(analog), pytest.raises(ConfigurationError, match="layer 'b': an input is not a number"):
        analog(-rows())


def test_a_deployed_network_answers_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = {"calibration.reads": 8, "calibration.images": 8}
    net = norsim.deploy(Two(FORWARDS["the first parameter"]), calibration=rows(), set=chip)
    assert len(list(net.parameters())) == 4 and isinstance(net.a, nn.Linear)
    assert (net(rows()) - net.quantized(rows())).abs().max() < 0.3
