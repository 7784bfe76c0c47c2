"""aihwkit-lightning on a comparison's folder: `python -m benchmarks.peers.in_lightning JOB OUT`.

It has converters and noise, and no wires."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import torch
from aihwkit_lightning.nn.conversion import convert_to_analog
from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig
from torch import nn

from benchmarks.peers.network import Range
from benchmarks.peers.results import Results


def config(rows: int, adc_bits: int | None, bound: float) -> TorchInferenceRPUConfig:
    """Return tiles of at most `rows` inputs with converters of that width, from -`bound` to `bound`, None for ideal
    ones."""
    found = TorchInferenceRPUConfig()
    found.mapping.max_input_size = rows
    # Inputs are codes in 0 to 1 already.
    ranges = found.pre_post.input_range
    ranges.enable, ranges.learn_input_range, ranges.init_value, ranges.init_from_data = True, False, 1.0, 0
    if adc_bits is not None:
        found.forward.out_bound, found.forward.out_res = bound, 2**adc_bits - 2
    return found


def main() -> None:
    results = Results(version("aihwkit-lightning"))
    known = results.chips[0]

    def convert(layer: nn.Module, of: Range) -> nn.Module:
        made: nn.Module = convert_to_analog(
            layer, config(known["wordlines"], known["adc_bits"], of.largest_by_weight), inplace=True
        )
        return made

    results.network("converters", convert)

    def currents(codes: np.ndarray, drives: np.ndarray) -> np.ndarray:
        bare = nn.Linear(*codes.shape, bias=False)
        with torch.no_grad():
            bare.weight.copy_(torch.tensor(codes.T / 15))
            made = convert_to_analog(bare, config(len(codes), None, 0.0), inplace=True).eval()
            found: np.ndarray = made(torch.tensor(drives, dtype=torch.float32)).numpy()
        return found * float(known["top_amps"])

    results.tile("no wires", "no wires", currents)
    results.write()


if __name__ == "__main__":
    main()
