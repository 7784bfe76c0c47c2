"""Post-training quantization of a network in a run, whose result later runs take from the disk."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn

from norsim.caches.arrays import QUANTIZATIONS
from norsim.data.batches import InputBatches
from norsim.data.inputs.structure import Structure
from norsim.data.tensors import identity_of
from norsim.jobs.phases import Report, silent
from norsim.jobs.unit_store import arithmetic, unit_key
from norsim.quantization.by_layer.bits import BitsLike, read_bits
from norsim.quantization.post_training.ranges import MSE, read_range
from norsim.quantization.quantize import quantize, uncalibrated
from norsim.zoo.attributes import described, has_own_code


def quantized_once(
    network: nn.Module,
    batches: Sequence[Structure],
    *,
    bits: BitsLike = 4,
    digital: Collection[str] = (),
    activation_range: str | float = MSE,
    learned_rounding: bool = False,
    report: Report = silent,
) -> nn.Module:
    """Return what `quantize` returns for a float network and calibration `batches` `[images, ...]`; it is kept on disk.

    Only what the quantization changes is kept: scales, zero points, biases and statistics. Those of a network with
    user-supplied code are not kept, because its outputs may depend on anything. Raises the errors of `quantize`.
    """
    options: Any = {
        "bits": bits, "digital": digital, "activation_range": activation_range, "learned_rounding": learned_rounding,
    }  # fmt: skip
    key = _key(network, batches, **options)
    if key is None:
        return quantize(network, InputBatches(batches), **options, report=report)
    kept = QUANTIZATIONS.get(key)
    plain = uncalibrated(network, batches[0], bits, digital)
    before = plain.state_dict()
    if kept is not None:
        plain.load_state_dict(before | {name: torch.from_numpy(values) for name, values in kept.items()})
        return plain
    found = quantize(network, InputBatches(batches), **options, report=report)
    after = found.state_dict().items()
    QUANTIZATIONS.put(key, {name: value.cpu().numpy() for name, value in after if not torch.equal(value, before[name])})
    return found


def is_kept(network: nn.Module, batches: Sequence[Structure], **options: Any) -> bool:
    """Return whether `quantized_once`, with its `options`, finds its result on disk."""
    key = _key(network, batches, **options)
    return key is not None and QUANTIZATIONS.has(key)


def _key(
    network: nn.Module, batches: Sequence[Structure], bits: BitsLike, digital: Collection[str],
    activation_range: str | float, learned_rounding: bool,
) -> str | None:  # fmt: skip
    """Return the key of a quantization; None if user-supplied code takes part in it."""
    if has_own_code(network):
        return None
    # The last bits of sums depend on the machine, and on the order of the inputs in memory.
    machine = *arithmetic(), torch.get_num_threads()
    return unit_key(
        "quantized", *machine, *described(network), *identity_of(list(batches)), str(read_bits(bits)), sorted(digital),
        read_range(activation_range), learned_rounding,
    )  # fmt: skip
