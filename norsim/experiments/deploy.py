"""Deploy a float network on the array in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from norsim.backends.registry import backend_named
from norsim.chip.load import ChipChoice, choose_chip
from norsim.chip.model import Chip
from norsim.data.batches import Data, InputBatches, inputs_of
from norsim.data.inputs.structure import Structure, count_of, joined, mapped, taken
from norsim.errors import ConfigurationError
from norsim.experiments.deployed import DeployedNetwork
from norsim.experiments.deployed_folder import load_folder
from norsim.experiments.deployment import Deployment, KeptInputs
from norsim.jobs.phases import Report, silent
from norsim.jobs.workers import HERE, Workers
from norsim.quantization.by_layer.bits import BitsLike
from norsim.quantization.forward import check_network
from norsim.quantization.plain import plain_copy
from norsim.quantization.post_training.ranges import MSE
from norsim.quantization.quantize import quantize
from norsim.tiling.convert import program


def deploy(
    model: nn.Module,
    chip: str | Path | Chip = "etox65",
    *,
    calibration: Data,
    set: Mapping[str, Any] | None = None,
    digital: Sequence[str] = (),
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    bits: BitsLike | None = None,
    activation_range: str | float = MSE,
    learned_rounding: bool = False,
    encoding: str | None = None,
    seed: int = 0,
    backend: str = "macro",
    name: str | None = None,
    workers: Workers = HERE,
    report: Report = silent,
) -> DeployedNetwork:
    """Return `model` on the tiles of `chip`: quantized, converted, programmed and calibrated. The model is not changed.

    - `model`: any network with Conv1d, Conv2d, Linear or MultiheadAttention layers, with float weights. All other
      operations stay digital.
    - `chip`: a preset, a chip file, or a `Chip`; `set` changes its keys, for example `{"adc.bits": 9}`, and `encoding`
      selects another encoding.
    - `calibration`: training inputs, labelled or not, as a DataLoader, a torch Dataset, a pair (inputs, targets) of
      tensors, a tensor of inputs, a norsim data set or an iterable of batches. The inputs of a batch are a tensor, or a
      tuple or dict of tensors for a network that takes several. All of it determines the scales of
      codes; the first inputs, up to the chip's `calibration.images`, determine the ranges of converters.
    - `digital`: names of modules, or patterns such as `layer1.*`, that stay as they are: their layers are neither
      quantized nor placed.
    - `weight_bits`, `activation_bits`: widths of codes, 1 to 8 bits, 4 by default. `bits`, instead of these, gives them
      for all layers, `8` or `"4/8"` (weights/activations), or by patterns, of which the first counts that matches a
      layer: `{"conv1": "8/8", "*.fc": "4/8", "*": 4}`, or the same as text, `"conv1=8/8,*.fc=4/8,*=4/4"`.
      `activation_range` is `"mse"`, the range of activations with least squared error, or the percentile to which
      codes reach, such as 99.9. `learned_rounding` learns the codes from the float network's layers, in minutes: see
      `norsim.quantize`.
    - `backend`: what reads the array. `ideal` computes integers, for which tiles are neither programmed nor calibrated;
      `net.backend` and `net.calibrate` do that later.
    - `seed`: seed of all random numbers. `report(what, done, total)` reports progress.

    Raises PlacementError with the name of a layer that no array can hold, ConfigurationError for a key, chip or layer
    that does not exist, DataError for unsuitable calibration data, SimulatorError without ngspice.
    """
    check_network(model)
    if isinstance(model, DeployedNetwork):
        raise ConfigurationError("the network is already deployed; deploy the original model")
    reads = not backend_named(backend).gives_integers
    patterns = _patterns(digital)
    choice = _chosen(chip, set or {}, encoding, seed)
    original = plain_copy(model, patterns)
    seen = _FirstInputs(calibration, choice.chip.calibration.images)
    quantized = quantize(
        original, InputBatches(seen), weight_bits, activation_bits, bits=bits, digital=patterns,
        activation_range=activation_range, learned_rounding=learned_rounding, report=report,
    )  # fmt: skip
    deployment = Deployment(
        name or type(model).__name__, quantized, choice, (), original, KeptInputs(seen.inputs()), seed
    )
    net = DeployedNetwork(deployment, deployment.converted(), backend)
    return net.calibrate(workers=workers, report=report) if reads else net


def load_deployed(folder: Path | str) -> DeployedNetwork:
    """Return the deployed network that `net.save(folder)` wrote, programmed, with its calibration.

    The folder holds Python objects, and loading it can run arbitrary code: load only folders that you trust. Raises
    DataError for any other folder, and for a network whose classes cannot be imported.
    """
    deployment, state, backend = load_folder(Path(folder))
    net = DeployedNetwork(deployment, deployment.converted(), backend)
    net.load_state_dict(state)
    program(net.parts.analog, backend)
    net.backend = backend
    return net


def _patterns(digital: Sequence[str]) -> tuple[str, ...]:
    """Return names or patterns of layers, from one or several. Raises ConfigurationError for anything else."""
    patterns = (digital,) if isinstance(digital, str) else tuple(digital) if isinstance(digital, Iterable) else None
    if patterns is None or not all(isinstance(one, str) for one in patterns):
        raise ConfigurationError(f'digital is {digital!r}; expected names of layers or patterns, such as ["fc"]')
    return patterns


def _chosen(chip: str | Path | Chip, settings: Mapping[str, Any], encoding: str | None, seed: int) -> ChipChoice:
    """Return the chip with its settings. Raises ConfigurationError for settings of a Chip, which is complete."""
    if not isinstance(chip, Chip):
        return choose_chip(chip, settings, encoding, seed)
    if settings or encoding is not None:
        raise ConfigurationError(
            "set and encoding change the keys of a chip file, but chip is a Chip; give a preset or a file, or pass the "
            "settings to norsim.load_chip"
        )
    return ChipChoice({}, Path(), chip.specimen(seed, 0))


class _FirstInputs:
    """An iterable over data that keeps the first inputs, so that one pass, as over a generator, is enough."""

    def __init__(self, data: Data, count: int) -> None:
        self.data, self.count = data, count
        self.kept: list[Structure] = []

    def __iter__(self) -> Iterator[Structure]:
        have = 0
        for inputs in inputs_of(self.data):
            if have < self.count:
                some = taken(inputs, slice(self.count - have))
                self.kept.append(mapped(some, lambda part: part.detach().cpu().clone()))
                have += count_of(self.kept[-1])
            yield inputs

    def inputs(self) -> Structure:
        """Return the kept inputs `[images, ...]`."""
        return joined(self.kept)
