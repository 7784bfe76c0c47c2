"""aihwkit's tiles in Python on a comparison's folder: `python -m benchmarks.peers.in_aihwkit JOB OUT`.

`forward.ir_drop` of its compiled tiles subtracts a formula of a column's inputs and weights.
`TorchInferenceRPUConfigIRDropT` solves the wire of each column, in time steps; it takes cells as conductances, and has
no other line of a cell, such as a source line. Inputs of 0 keep their cells connected, at the volts of the converter.
Every other column has its converter at the other end, so a tile is read twice, the second time upside down.

If aihwkit comes from its source, without its compiled module, a placeholder stands for that: its tiles in Python do not
call it, and the formula is not run. Nor is the drop in time on the network: one image of ResNet-20 took 83 s of a
processor, and convolutions do not take it as they are."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.peers.network import Range
from benchmarks.peers.results import Results

COMPILED = "aihwkit.simulator.rpu_base"


class Placeholder(ModuleType):
    """A module in which each name is a class or function without effect."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {"__init__": lambda *_, **__: None}) if name[0].isupper() else lambda *_, **__: None
        setattr(self, name, made)
        return made


def without_compiled_module() -> bool:
    """Put placeholders in the place of aihwkit's compiled module if there is none; return whether it was so."""
    folder = Path(*(find_spec("aihwkit") or sys.exit("no aihwkit")).submodule_search_locations or ())
    if list((folder / "simulator").glob("rpu_base.*")):
        return False
    parts = {name: Placeholder(f"{COMPILED}.{name}") for name in ("cuda", "devices", "tiles")}
    whole = Placeholder(COMPILED)
    for name, part in parts.items():
        setattr(whole, name, part)
        sys.modules[part.__name__] = part
    sys.modules[COMPILED] = whole
    return True


PLACEHOLDER = without_compiled_module()

from aihwkit.inference.converter.conductance import SinglePairConductanceConverter  # noqa: E402
from aihwkit.inference.noise.pcm import PCMLikeNoiseModel  # noqa: E402
from aihwkit.nn import AnalogLinear  # noqa: E402
from aihwkit.nn.conversion import convert_to_analog  # noqa: E402
from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig, TorchInferenceRPUConfigIRDropT  # noqa: E402
from aihwkit.simulator.parameters.enums import AnalogMVType, BoundManagementType, NoiseManagementType  # noqa: E402
from aihwkit.version import __version__  # noqa: E402

# Volts of lines and converter in its tiles; the drive of an input is fixed there too, at 0.2 V.
COMMON_VOLTS = 0.4


def quiet(config: Any, adc_bits: int | None, bound: float) -> Any:
    """Return a configuration without noise and without scaling of inputs; converters of that width, from -`bound` to
    `bound`, None for ideal ones."""
    forward = config.forward
    forward.out_noise = 0.0
    forward.noise_management, forward.bound_management = NoiseManagementType.NONE, BoundManagementType.NONE
    forward.inp_bound, forward.inp_res = 1.0, 1 / 30
    forward.out_bound, forward.out_res = (0.0, -1.0) if adc_bits is None else (bound, 1 / (2**adc_bits - 2))
    config.mapping.weight_scaling_omega = 0.0
    return config


def in_time(known: dict[str, Any], config: Any, rows: int) -> Any:
    """Add the drop along columns of `rows` cells, each a segment; each bit of an input is a step."""
    siemens = known["top_amps"] / known["read_volts"]
    config.noise_model = PCMLikeNoiseModel(g_converter=SinglePairConductanceConverter(g_max=1e6 * siemens, g_min=0.0))
    config.mapping.max_input_size = rows
    forward = config.forward
    forward.mv_type, forward.adc_quantization = AnalogMVType.BIT_WISE, False
    forward.ir_drop, forward.ir_drop_rs, forward.ir_drop_segments = 1.0, known["bitline_ohms"], rows
    # Steps are added up; trapezoids over two steps would count a bit one and a half times.
    forward.ir_drop_v_read, forward.ir_drop_integration_sum = COMMON_VOLTS, True
    return config


def by_formula(known: dict[str, Any], config: Any, _: int) -> Any:
    """Add the drop along columns by the formula of aihwkit's compiled tiles, for any number of rows."""
    siemens = known["top_amps"] / known["read_volts"]
    config.forward.ir_drop, config.forward.ir_drop_g_ratio = 1.0, 1 / (known["bitline_ohms"] * siemens)
    return config


def without_wires(_: dict[str, Any], config: Any, __: int) -> Any:
    """Return a configuration as it is."""
    return config


def main() -> None:
    results = Results(__version__ + (", from its source without its compiled module" if PLACEHOLDER else ""))
    known = results.chips[0]

    def converter(kind: Any, wires: Any) -> Any:
        def convert(layer: nn.Module, of: Range) -> nn.Module:
            config = wires(known, quiet(kind(), known["adc_bits"], of.largest), known["wordlines"])
            config.mapping.max_input_size, config.mapping.max_output_size = known["wordlines"], known["bitlines"]
            made: nn.Module = convert_to_analog(layer, config)
            return made

        return convert

    results.network("converters", converter(TorchInferenceRPUConfig, without_wires))
    if not PLACEHOLDER:
        results.network("converters, drop by a formula", converter(InferenceRPUConfig, by_formula))

    def reader(kind: Any, wires: Any, chip: dict[str, Any] = known) -> Any:
        def once(codes: np.ndarray, drives: np.ndarray) -> np.ndarray:
            config = wires(chip, quiet(kind(), None, 0.0), len(codes))
            made = AnalogLinear(*codes.shape, bias=False, rpu_config=config)
            made.set_weights(torch.tensor(codes.T / 15, dtype=torch.float32), None)
            with torch.no_grad():
                # The lowest bit alone is up, so that a read is one step.
                found: np.ndarray = made.eval()(torch.tensor(drives / 15, dtype=torch.float32)).numpy()
            return 15 * found * float(known["top_amps"])

        def currents(codes: np.ndarray, drives: np.ndarray) -> np.ndarray:
            # Even columns end at the last input here, odd ones at the first; in norsim all end at the first.
            found = once(codes, drives)
            found[:, 0::2] = once(codes[::-1].copy(), drives[:, ::-1].copy())[:, 0::2]
            return found

        return currents

    results.tile("no wires", "no wires", reader(TorchInferenceRPUConfig, without_wires))
    for chip in results.chips:
        if not PLACEHOLDER:
            results.tile(chip["chip"], "bitlines by a formula", reader(InferenceRPUConfig, by_formula, chip))
        results.tile(chip["chip"], "bitlines in time", reader(TorchInferenceRPUConfigIRDropT, in_time, chip))
    results.write()


if __name__ == "__main__":
    main()
