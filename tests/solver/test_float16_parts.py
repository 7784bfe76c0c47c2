"""Products of float16 parts, and the tables of macro in torch against those of numba."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from norsim.backends.characterised import reduced
from norsim.solver.macro.float16_parts import LARGEST, full_precision, multiply, parts
from norsim.solver.macro.on_device import on_device, one_hot
from tests.solver.arrays import ENCODINGS, array_of


def test_parts_keep_22_bits_at_any_scale() -> None:
    random = np.random.default_rng(1)
    for scale in (1e-12, 1e-6, 1.0, 1e5):
        values = scale * random.standard_normal((40, 7)) * random.uniform(0, 1, (40, 1)) ** 8
        found = parts(values)
        assert float(found.high.abs().max()) <= LARGEST
        both = (found.high.double() + found.low.double() / 2048) * found.unit
        assert np.abs(both.numpy() - values).max() <= 2.0**-22 * np.abs(values).max()
        left = random.standard_normal((5, 40)).astype(np.float32)
        exact, bound = left.astype(np.float64) @ values, np.abs(left) @ np.abs(values)
        assert (np.abs(found.times(torch.from_numpy(left)).numpy() - exact) <= 1e-6 * bound).all()
    assert not parts(np.zeros((3, 2))).times(torch.ones(1, 3)).any()


def test_a_read_is_one_state_of_each_group() -> None:
    codes = torch.tensor([[1, 2, 3, 0, 0, 0]], dtype=torch.uint8)
    found = one_hot(codes, 2, 2).view(2, 3, 3)
    # Pass 0 drives rows 0 and 2, pass 1 rows 1 and 2; the states of a pair are row 0, row 1, both.
    assert found[0].tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert found[1].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lines_in_torch_are_those_of_numba(
    encoding: str, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiled)
    array = array_of(encoding, 37, 21)
    model, (codes, top) = reduced(array.tile, array.stimulus(2, 1)), (array.codes(40, 3), array.encoding.top_drive)
    passes = array.encoding.passes(4)
    lines = on_device(model).lines(torch.from_numpy(codes), passes, top)[:, : model.summed].numpy()
    assert np.abs(lines - model.lines(codes, passes, top)).max() <= 6e-7 * model.model.full_scale_amps


def test_groups_without_current_leave_the_sums_of_their_neighbours_alone() -> None:
    """Cells that conduct nothing at all, as behavioural ones, have no weight."""
    array = array_of("bit-serial", 37, 9, times=8.0)
    found = reduced(array.tile, array.stimulus(2, 1))
    weights, still = found.weights.copy(), found.model.field.weights.clone()
    still[24:28], weights.reshape(-1, 3)[12:14] = 0, 0
    model = replace(found, model=replace(found.model, field=replace(found.model.field, weights=still)), weights=weights)
    assert (np.diff(model.model.node_of()[0]) >= 0).all()
    codes = array.codes(40, 3)
    lines = on_device(model).lines(torch.from_numpy(codes), 4)[:, : model.summed].numpy()
    assert np.abs(lines - model.lines(codes, 4)).max() <= 6e-7 * model.model.full_scale_amps


@pytest.mark.parametrize("before", ["highest", "high", "newer"])
def test_full_precision_leaves_settings_as_they_were(before: str) -> None:
    matmul: Any = torch.backends.cuda.matmul
    if before == "newer":
        if not hasattr(matmul, "fp32_precision"):
            pytest.skip("this torch has only the older setting")
        matmul.fp32_precision = "tf32"
    else:
        torch.set_float32_matmul_precision(before)
    try:
        state = matmul.fp32_precision, matmul.allow_fp16_reduced_precision_reduction
        with full_precision():
            assert matmul.fp32_precision == "ieee"
            assert matmul.allow_fp16_reduced_precision_reduction is False
        assert (matmul.fp32_precision, matmul.allow_fp16_reduced_precision_reduction) == state
    finally:
        if before == "newer":
            matmul.fp32_precision = "ieee"
        torch.set_float32_matmul_precision("highest")


def test_products_on_a_card_are_of_float16_and_added_in_float32() -> None:
    """Without a card: of tensors that have a device, and no numbers."""
    with FakeTensorMode(), Called() as called:
        left, right = (torch.empty(size, dtype=torch.float16, device="cuda") for size in ((4, 8), (8, 3)))
        found = multiply(left, right)
    assert found.dtype == torch.float32 and found.device.type == "cuda"
    if hasattr(torch.ops.aten.mm, "dtype"):
        assert torch.ops.aten.mm.dtype in called.functions
    assert multiply(torch.ones(2, 3).half(), torch.ones(3, 1).half()).tolist() == [[3.0], [3.0]]


class Called(TorchDispatchMode):
    """Lists the functions of torch that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.functions: list[Any] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.functions.append(function)
        return function(*args, **(kwargs or {}))
