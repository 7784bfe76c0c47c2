"""What `import norsim` offers to Python programs."""

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.evaluation.evaluate import evaluate
from norsim.quantization.quantize import quantize
from norsim.report import write_report
from norsim.saved.network_folder import load_network
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert
from norsim.tiling.digital import digital_modules, digital_operations

__all__ = [
    "Cell",
    "Currents",
    "Stimulus",
    "Tile",
    "Wires",
    "calibrate",
    "convert",
    "digital_modules",
    "digital_operations",
    "evaluate",
    "load_chip",
    "load_network",
    "quantize",
    "read",
    "write_report",
]
