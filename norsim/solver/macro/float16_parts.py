"""Products of matrices at the speed of float16 and nearly the precision of float32.

A number is two float16 parts, high + low / 2048, together 22 bits. Products of float16 numbers are exact in float32,
and are added in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Parts of tables are scaled below this power of two, where float16 has a maximum of 65,504.
LARGEST = 2.0**14
# The weight of the high part's last digit: float16 has 11 bits.
LOW = 2048.0


@dataclass(frozen=True, eq=False)
class Parts:
    """A table `[rows, columns]`: `(high + low / 2048) unit`, parts in float16."""

    high: Tensor
    low: Tensor
    unit: float

    def product(self, left: Tensor) -> Tensor:
        """Return `left` `[n, rows]`, float16, times the table, in its unit: `[n, columns]`, float32."""
        return multiply(left, self.high).add_(multiply(left, self.low), alpha=1 / LOW)

    def times(self, left: Tensor) -> Tensor:
        """Return `left` `[n, rows]`, float32 below 2^15, times the table: `[n, columns]`, float32."""
        high = left.to(torch.float16)
        low = ((left - high) * LOW).to(torch.float16)
        # The product of both low parts is below the last bit.
        return self.product(high).add_(multiply(low, self.high), alpha=1 / LOW).mul_(self.unit)


def parts(values: NDArray[Any]) -> Parts:
    """Split `values` `[rows, columns]`."""
    largest = float(np.abs(values).max(initial=0.0))
    exponent = math.floor(math.log2(LARGEST / largest)) if largest else 0
    scaled = np.asarray(values, dtype=np.float64) * 2.0**exponent
    high = scaled.astype(np.float16)
    low = ((scaled - high) * LOW).astype(np.float16)
    return Parts(torch.from_numpy(high), torch.from_numpy(low), 2.0**-exponent)


def beside(tables: Sequence[Parts]) -> Parts:
    """Put the columns of tables beside each other, each still in its own unit."""
    return Parts(torch.cat([one.high for one in tables], 1), torch.cat([one.low for one in tables], 1), 1.0)


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """Return the product of float16 matrices `[n, k]` and `[k, m]`, added in float32."""
    if left.is_cuda and hasattr(torch.ops.aten.mm, "dtype"):
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


@contextmanager
def full_precision() -> Iterator[None]:
    """Do float32 products of matrices in float32 within the block, not in TF32, and add float16 ones in float32."""
    matmul: Any = torch.backends.cuda.matmul
    reduced = matmul.allow_fp16_reduced_precision_reduction
    try:
        legacy: str | None = torch.get_float32_matmul_precision()
    except RuntimeError:  # it was set by torch's newer interface, which must not be mixed with this one
        legacy, newer = None, matmul.fp32_precision
    matmul.allow_fp16_reduced_precision_reduction = False
    if legacy is None:
        matmul.fp32_precision = "ieee"
    else:
        torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        matmul.allow_fp16_reduced_precision_reduction = reduced
        if legacy is None:
            matmul.fp32_precision = newer
        else:
            torch.set_float32_matmul_precision(legacy)
