"""norsim: the accuracy a network keeps when NOR-flash currents do its multiply-accumulates.

    chip = norsim.load_chip("etox65")
    quantized = norsim.quantize(network, calibration_batches)
    analog = norsim.convert(quantized, chip)
    norsim.calibrate(analog, training_images)
    result = norsim.evaluate(analog, test_loader, backend="macro")
    result.report("out/")

Names are imported when they are first used, so that `import norsim` does not import torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Cell": "array.cell",
    "Currents": "array.tile",
    "Stimulus": "array.tile",
    "Tile": "array.tile",
    "Wires": "array.wires",
    "calibrate": "network.layers",
    "convert": "network.layers",
    "digital_modules": "network.digital",
    "digital_operations": "network.digital",
    "evaluate": "network.evaluate",
    "load_chip": "config",
    "load_network": "network.store",
    "quantize": "network.quantize",
    "read": "backends",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'norsim' has no attribute {name!r}")
    return getattr(import_module(f"norsim.{_HOME[name]}"), name)
