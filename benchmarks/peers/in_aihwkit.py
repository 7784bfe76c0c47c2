"""aihwkit on a comparison's folder: `python -m benchmarks.peers.in_aihwkit JOB OUT`.

Its inference tiles have two models of a drop along the wires that sum currents. `ir_drop` of a tile in C++ is a formula
in the inputs and weights of the column; `TorchInferenceRPUConfigIRDropT` solves each column's wire, in time steps. Both
take cells as conductances, and neither has the other line of a cell, such as a source line."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from aihwkit.inference.converter.conductance import SinglePairConductanceConverter
from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
from aihwkit.nn import AnalogLinear
from aihwkit.nn.conversion import convert_to_analog
from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfigIRDropT
from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType
from torch import nn

from benchmarks.peers.network import Range
from benchmarks.peers.results import Results


def quiet(config: Any, adc_bits: int | None, bound: float) -> Any:
    """Return a configuration without noise and without scaling of inputs; converters of that width, from -`bound` to
    `bound`, None for ideal ones."""
    forward = config.forward
    forward.out_noise, forward.w_noise = 0.0, 0.0
    forward.noise_management, forward.bound_management = NoiseManagementType.NONE, BoundManagementType.NONE
    forward.inp_bound, forward.inp_res = 1.0, -1.0
    forward.out_bound, forward.out_res = (0.0, -1.0) if adc_bits is None else (bound, 1 / (2**adc_bits - 2))
    config.mapping.weight_scaling_omega = 0.0
    return config


def with_formula(known: dict[str, Any], adc_bits: int | None, bound: float, wires: bool) -> Any:
    """Return tiles of the size of norsim's, with or without the formula for the drop along a bitline."""
    config = quiet(InferenceRPUConfig(), adc_bits, bound)
    config.mapping.max_input_size, config.mapping.max_output_size = known["wordlines"], known["bitlines"]
    config.forward.ir_drop = 1.0 if wires else 0.0
    config.forward.ir_drop_g_ratio = 1 / (known["bitline_ohms"] * known["top_amps"] / known["read_volts"])
    return config


def by_formula(known: dict[str, Any], rows: int) -> Any:
    """Return a tile with ideal converters and that formula."""
    return with_formula(known, None, 0.0, True)


def in_time(known: dict[str, Any], rows: int) -> Any:
    """Return a tile whose columns are solved in time, one bit long."""
    config = quiet(TorchInferenceRPUConfigIRDropT(), None, 0.0)
    siemens = known["top_amps"] / known["read_volts"]
    config.noise_model = PCMLikeNoiseModel(g_converter=SinglePairConductanceConverter(g_max=1e6 * siemens, g_min=0.0))
    config.mapping.max_input_size = rows
    forward = config.forward
    forward.ir_drop, forward.ir_drop_rs, forward.ir_drop_segments = 1.0, known["bitline_ohms"], rows
    forward.ir_drop_v_read, forward.adc_quantization = known["read_volts"], False
    forward.inp_res = 1 / (2**8 - 2)
    return config


def main() -> None:
    results = Results(version("aihwkit"))
    known = results.chips[0]
    for name, wires in (("converters", False), ("converters, bitlines by formula", True)):

        def convert(layer: nn.Module, of: Range, wires: bool = wires) -> nn.Module:
            made: nn.Module = convert_to_analog(layer, with_formula(known, known["adc_bits"], of.largest, wires))
            return made

        results.network(name, convert)

    def reader(config: Any) -> Any:
        def currents(codes: np.ndarray, drives: np.ndarray) -> np.ndarray:
            # The first input is farthest from the converter here; in norsim it is nearest.
            made = AnalogLinear(*codes.shape, bias=False, rpu_config=config(len(codes)))
            made.set_weights(torch.tensor(codes[::-1].T / 15, dtype=torch.float32), None)
            with torch.no_grad():
                found: np.ndarray = made.eval()(torch.tensor(drives[:, ::-1].copy(), dtype=torch.float32)).numpy()
            return found * float(known["top_amps"])

        return currents

    results.tile("no wires", "no wires", reader(lambda rows: with_formula(known, None, 0.0, False)))
    for chip in results.chips:
        results.tile(chip["chip"], "bitlines by formula", reader(partial(by_formula, chip)))
        results.tile(chip["chip"], "bitlines in time", reader(partial(in_time, chip)))
    results.write()


if __name__ == "__main__":
    main()
