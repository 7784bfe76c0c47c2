"""Calls of every exported name, as a typed script of a user makes them.

mypy checks this file strictly, with the annotations of the results (`make check`); tests/api/test_types.py checks that
it leaves no name out. It is not run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import norsim


def deploy(model: nn.Module, pair: tuple[Tensor, Tensor]) -> norsim.DeployedNetwork:
    loader: DataLoader[Any] = DataLoader(TensorDataset(*pair), batch_size=10)
    net: norsim.DeployedNetwork = norsim.deploy(
        model, "etox65", calibration=loader, set={"adc.bits": 8}, digital=["fc"], weight_bits=4, activation_bits=4
    )
    net.backend = "nodal"
    outputs: Tensor = net(pair[0])
    integers: Tensor = net.quantized(outputs)
    digital: dict[str, str] = net.digital
    chip: norsim.Chip = net.chip
    folder: Path = net.save("deployed")
    print(integers, digital, chip, folder)
    return norsim.load_deployed(folder)


def measure(net: norsim.DeployedNetwork, data: norsim.Dataset, metric: Callable[[Any, Any], float]) -> list[float]:
    result: norsim.Evaluation = net.evaluate(data, metric=metric, trials=3)
    losses: norsim.Attribution = net.attribute(data, by="causes")
    found: norsim.Sweep = net.sweep(data, {"adc.bits": [3, 8]})
    tuned: norsim.DeployedNetwork = net.finetune(data, steps=2)
    report: Path = norsim.write_report(result, "report", data)
    rows: list[dict[str, Any]] = found.rows()
    points: list[float] = [share.alone.points for share in losses.shares]
    print(tuned, report, rows)
    return [result.metric_value, found.best.accuracy, *points]


def steps(folder: Path) -> dict[str, Any]:
    model, card = norsim.load_network(folder)
    data: norsim.Dataset = norsim.load_data("digits", "train")
    chip: norsim.Chip = norsim.load_chip("etox65", {"calibration.reads": 16})
    quantized: nn.Module = norsim.quantize(model, data, weight_bits=4, activation_bits=4)
    analog: nn.Module = norsim.convert(quantized, chip, overrides={"fc": {"backend": "ideal"}})
    norsim.program(analog)
    norsim.calibrate(analog, data, backend="macro")
    modules: dict[str, str] = norsim.digital_modules(analog)
    operations: dict[str, int] = norsim.digital_operations(analog, data)
    result: norsim.Evaluation = norsim.evaluate(analog, data, backend="macro", spice_sample=4)
    summary: dict[str, Any] = result.summary()
    print(card, modules, operations)
    return summary


def read(cell: norsim.Cell, wires: norsim.Wires) -> NDArray[np.float64]:
    tile = norsim.Tile(thresholds=[[4.2, 4.3], [6.0, 4.2]], cell=cell, wires=wires)
    stimulus = norsim.Stimulus(wordline_volts=[[5.0, 0.0]], bitline_volts=[[0.5, 0.5]])
    currents: norsim.Currents = norsim.read(tile, stimulus, backend="ngspice")
    amperes: NDArray[np.float64] = currents.bitline
    return amperes


def extend(backend: norsim.Backend) -> str:
    name: str = backend.name
    return name


def refused(call: Callable[[], None]) -> str:
    try:
        call()
    except norsim.ConfigurationError as error:
        return f"configuration: {error}"
    except norsim.DataError as error:
        return f"data: {error}"
    except norsim.PlacementError as error:
        return f"layer: {error}"
    except norsim.ThresholdError as error:
        return f"threshold: {error}"
    except norsim.WriteError as error:
        return f"folder: {error}"
    except norsim.SolveError as error:
        return f"solver: {error}"
    except norsim.SimulatorError as error:
        return f"simulator: {error}"
    except norsim.NorsimError as error:
        return str(error)
    return ""
