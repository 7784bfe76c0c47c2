"""norsim: the accuracy a network keeps when the currents of NOR-flash arrays do its multiply-accumulates.

    chip = norsim.load_chip("etox65")
    quantized = norsim.quantize(network, calibration_batches)
    analog = norsim.convert(quantized, chip)
    norsim.calibrate(analog, training_images)
    result = norsim.evaluate(analog, test_loader, backend="macro")
    norsim.write_report(result, "out/")

Names are imported on first use, so that `import norsim` does not import torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from norsim.api import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module 'norsim' has no attribute {name!r}")
    import norsim.api as api

    if name not in api.__all__:
        raise AttributeError(f"module 'norsim' has no attribute {name!r}")
    return getattr(api, name)
