"""Post-training quantization of a network in a run, whose result later runs take from the disk."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from norsim.caches.arrays import QUANTIZATIONS
from norsim.data.batches import InputBatches
from norsim.data.inputs.structure import Structure
from norsim.data.tensors import identity_of
from norsim.jobs.machine import processor
from norsim.jobs.phases import Report, silent
from norsim.jobs.unit_store import DECISIVE, unit_key
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
        "report": report,
    }  # fmt: skip
    if has_own_code(network):
        return quantize(network, InputBatches(batches), **options)
    # The last bits of sums depend on the machine, and on the order of the inputs in memory.
    machine = processor(), torch.get_num_threads(), *map(version, DECISIVE)
    inputs = identity_of(list(batches))
    key = unit_key(
        "quantized",
        *machine,
        *described(network),
        *inputs,
        str(read_bits(bits)),
        sorted(digital),
        read_range(activation_range),
        learned_rounding,
    )
    kept = QUANTIZATIONS.get(key)
    plain = uncalibrated(network, batches[0], bits, digital)
    before = plain.state_dict()
    if kept is not None:
        plain.load_state_dict(before | {name: torch.from_numpy(values) for name, values in kept.items()})
        return plain
    found = quantize(network, InputBatches(batches), **options)
    after = found.state_dict().items()
    QUANTIZATIONS.put(key, {name: value.cpu().numpy() for name, value in after if not torch.equal(value, before[name])})
    return found
