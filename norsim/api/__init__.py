"""The public Python interface: the names of `import norsim`."""

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.backend import Backend
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.chip.model import Chip
from norsim.data import Dataset
from norsim.data import load_images as load_data
from norsim.errors import (
    ConfigurationError,
    DataError,
    NorsimError,
    PlacementError,
    SimulatorError,
    SolveError,
    ThresholdError,
    WriteError,
)
from norsim.evaluation.attribution import Attribution
from norsim.evaluation.evaluate import Evaluation, evaluate
from norsim.experiments.deploy import deploy, load_deployed
from norsim.experiments.deployed import DeployedNetwork
from norsim.experiments.sweep import Sweep
from norsim.quantization.quantize import quantize
from norsim.report import write_report
from norsim.saved.network_folder import load_network
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert, program
from norsim.tiling.digital import digital_modules, digital_operations

__all__ = [
    "Attribution",
    "Backend",
    "Cell",
    "Chip",
    "ConfigurationError",
    "Currents",
    "DataError",
    "Dataset",
    "DeployedNetwork",
    "Evaluation",
    "NorsimError",
    "PlacementError",
    "SimulatorError",
    "SolveError",
    "Stimulus",
    "Sweep",
    "ThresholdError",
    "Tile",
    "Wires",
    "WriteError",
    "calibrate",
    "convert",
    "deploy",
    "digital_modules",
    "digital_operations",
    "evaluate",
    "load_chip",
    "load_data",
    "load_deployed",
    "load_network",
    "program",
    "quantize",
    "read",
    "write_report",
]
