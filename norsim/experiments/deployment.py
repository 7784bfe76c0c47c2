"""A quantized network and the chip design it is deployed on, from which the network on each chip is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatch

from torch import nn

from norsim.chip.load import ChipChoice, Settings, apply_settings, build_chip
from norsim.chip.model import Chip
from norsim.data.batches import InputBatches
from norsim.data.inputs.structure import Structure, taken
from norsim.errors import ConfigurationError, suggestion
from norsim.jobs.phases import Report, silent, step
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.quantization.modules import quantized_operands
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert, program
from norsim.tiling.digital import check_on_images


@dataclass(frozen=True, eq=False)
class KeptInputs:
    """Training inputs `[images, ...]` in memory."""

    images: Structure

    def __call__(self, count: int) -> Structure:
        """Return the first `count` of them, or all: `[images, ...]`."""
        return taken(self.images, slice(count))


@dataclass(frozen=True, eq=False)
class Deployment:
    """A quantized network and the chip design it is deployed on.

    `name`        name of the network
    `quantized`   the network with quantized layers
    `choice`      the chip: the content of its file, and its first specimen
    `digital`     names of the layers that stay digital
    `original`    the float network, if known
    `inputs`      returns up to N training inputs `[images, ...]` for calibration; None if there are none
    `seed`        seed of all random numbers
    """

    name: str
    quantized: nn.Module
    choice: ChipChoice
    digital: tuple[str, ...] = ()
    original: nn.Module | None = None
    inputs: Callable[[int], Structure] | None = None
    seed: int = 0

    def converted(self, chip: Chip | None = None) -> nn.Module:
        """Return the network on `chip`, by default the first specimen; not programmed."""
        overrides = {name: {"backend": "ideal"} for name in self.digital}
        return convert(self.quantized, chip or self.choice.chip, overrides)

    def calibration_inputs(self) -> Structure:
        """Return the training inputs `[images, ...]` of a calibration. Raises ConfigurationError without any."""
        if self.inputs is None:
            raise ConfigurationError("the network has no calibration data; give training inputs to calibrate it")
        return self.inputs(self.choice.chip.calibration.images)

    def fit(
        self, analog: nn.Module, backend: str, *, workers: Workers = HERE, report: Report = silent,
        store: UnitStore | None = None,
    ) -> nn.Module:  # fmt: skip
        """Program and calibrate a converted network, and return it.

        Raises ConfigurationError without calibration data, and for inputs that the network does not answer one by one.
        """
        with step(report, "data"):
            inputs = self.calibration_inputs()
        # Before the tiles are programmed, which takes longer.
        check_on_images(analog, inputs, "the inputs of the calibration")
        program(analog, backend, report=report)
        calibrate(analog, InputBatches([inputs]), backend, seed=self.seed, workers=workers, report=report, store=store)
        return analog

    def specimen(self, number: int) -> Chip:
        """Return chip `number` of this design, among those drawn from the seed."""
        return self.choice.chip.specimen(self.seed, number)

    def with_settings(self, settings: Settings) -> Deployment:
        """Return the same network on the chip with further settings.

        Raises ConfigurationError for unknown keys, and for a chip that was given as an object, without its file.
        """
        choice = self.choice
        if not choice.content:
            raise ConfigurationError(
                "the chip was given as an object, so its keys cannot be changed; give a preset or a chip file by name"
            )
        content = apply_settings(choice.content, settings)
        chip = replace(build_chip(content, choice.path, choice.trusted), draw=choice.chip.draw)
        return replace(self, choice=ChipChoice(content, choice.path, chip, choice.trusted))


def matching(quantized: nn.Module, patterns: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Return the names of the quantized layers that match any of `patterns`, such as `fc` or `layer1.*`.

    Raises ConfigurationError, with the names of all layers, for a pattern that matches none.
    """
    names = list(quantized_operands(quantized))
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise ConfigurationError(f"{pattern!r} matches no layer; {suggestion(pattern, names)}")
    return tuple(name for name in names if any(fnmatch(name, pattern) for pattern in patterns))
