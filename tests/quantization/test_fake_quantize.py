"""The elementwise quantizer: outputs and gradients of torch's kernels, per tensor and per channel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from norsim.quantization.fake_quantize import by_kernel, elementwise, fake_quantize


def gradients(output: Tensor, direction: Tensor, *parameters: Tensor) -> list[Tensor]:
    return [output.detach(), *torch.autograd.grad(output, parameters, direction)]


def assert_alike(found: list[Tensor], expected: list[Tensor]) -> None:
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
    for one, other in zip(found[2:], expected[2:], strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5 * float(expected[1].abs().sum()))


sizes = st.lists(st.integers(1, 5), min_size=2, max_size=4)


@settings(max_examples=20)
@given(sizes, st.integers(1, 8), st.floats(-2, 2), st.floats(-1, 1.5), st.integers(0, 2**31))
def test_per_channel_it_is_torchs_kernel(size: list[int], bits: int, middle: float, zero: float, seed: int) -> None:
    """The zero point is any real number, also beyond the codes."""
    random, top = torch.Generator().manual_seed(seed), 2**bits - 1
    values = (torch.randn(size, generator=random) + middle).requires_grad_()
    scale = (torch.rand([size[0], *[1] * (len(size) - 1)], generator=random) * 4 / top + 1e-3).requires_grad_()
    offset = torch.tensor([zero * top + 0.01]).requires_grad_()
    direction = torch.randn(size, generator=random)
    both = (way(values, scale, offset, top, 0.3) for way in (elementwise, by_kernel))
    assert_alike(*(gradients(one, direction, values, scale, offset) for one in both))


@settings(max_examples=20)
@given(sizes, st.integers(1, 8), st.floats(-2, 2), st.floats(0, 1), st.integers(0, 2**31))
def test_per_tensor_it_is_torchs_kernel(size: list[int], bits: int, middle: float, share: float, seed: int) -> None:
    random, top = torch.Generator().manual_seed(seed), 2**bits - 1
    values = (torch.randn(size, generator=random) + middle).requires_grad_()
    scale, zero = torch.tensor([3.7 / top]).requires_grad_(), torch.tensor([round(share * top)])
    direction = torch.randn(size, generator=random)
    both = (way(values, scale, zero, top, 0.3) for way in (elementwise, by_kernel))
    assert_alike(*(gradients(one, direction, values, scale) for one in both))
    with torch.no_grad():
        assert torch.equal(fake_quantize(values, scale, zero, top, 0.3), by_kernel(values, scale, zero, top, 0.3))


def test_in_bfloat16_it_computes_in_float32() -> None:
    values = torch.linspace(-1, 2, 40, dtype=torch.bfloat16)
    grid = (torch.tensor([0.07]), torch.tensor([3.0]), 15, 1.0)
    found = elementwise(values, *grid)
    assert found.dtype == torch.float32 and torch.equal(found, elementwise(values.float(), *grid))


@pytest.mark.parametrize("way", [elementwise, by_kernel, fake_quantize])
def test_by_hand(way: Callable[..., Tensor]) -> None:
    """Scale 0.5, zero point 2, codes 0 to 3: below, inside, at a tie, which goes to the even step, and above."""
    values = torch.tensor([-9.0, 0.4, 0.25, 9.0]).requires_grad_()
    scale, zero = torch.tensor([0.5]).requires_grad_(), torch.tensor([2.2]).requires_grad_()
    found = way(values, scale, zero, 3, 10.0)
    assert found.tolist() == [-1.0, 0.5, 0.0, 0.5]
    found.sum().backward()
    assert values.grad is not None and scale.grad is not None and zero.grad is not None
    assert values.grad.tolist() == [0, 1, 1, 0]
    torch.testing.assert_close(scale.grad, torch.tensor([10 * (-2 + 0.2 - 0.5 + 1)]))
    assert zero.grad.tolist() == [10 * 2 * -0.5]
