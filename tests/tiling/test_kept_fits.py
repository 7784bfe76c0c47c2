"""Fits that are kept on disk: the same as those of a calibration, for the same network, chip and inputs only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from norsim.backends.registry import BACKENDS
from norsim.caches.arrays import FITS
from norsim.chip.model import Chip
from norsim.quantization.quantize import quantize
from norsim.tiling import calibrate as module
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert, program
from norsim.tiling.fit import fit_as_vector
from norsim.tiling.grid import TileGrid
from norsim.tiling.modules import tiled_layers

SmallChip = Callable[..., Chip]
IMAGES = torch.rand(6, 2, 5, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def fits(own_arrays: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the layers that are fitted to reads."""
    names: list[str] = []
    usual = module.fit_layer

    def counted(grid: TileGrid, *others: Any) -> TileGrid:
        names.append(grid.layer.name)
        return usual(grid, *others)

    monkeypatch.setattr(module, "fit_layer", counted)
    return names


@pytest.fixture(scope="module")
def quantized() -> nn.Module:
    torch.manual_seed(0)
    return quantize(nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)), [IMAGES])


def calibrated(network: nn.Module, chip: Chip, images: Tensor = IMAGES, backend: str = "macro", seed: int = 0) -> bytes:
    """Return the bytes of all fits, after a calibration of a new copy on the chip."""
    analog = convert(network, chip)
    calibrate(analog, [images], backend, seed=seed)
    layers = tiled_layers(analog).values()
    assert all(layer.grid.calibrated and layer.grid.arrays for layer in layers)
    return b"".join(fit_as_vector(layer.grid.tiles).tobytes() for layer in layers)


def test_a_kept_fit_is_that_of_the_reads(small_chip: SmallChip, quantized: nn.Module, fits: list[str]) -> None:
    first = calibrated(quantized, small_chip())
    assert fits == ["0", "3"]
    assert calibrated(quantized, small_chip()) == first
    assert fits == ["0", "3"]


def test_a_network_with_kept_fits_answers_as_one_that_was_read(
    small_chip: SmallChip, quantized: nn.Module, fits: list[str]
) -> None:
    answers = []
    for programmed in (False, True):
        analog = convert(quantized, small_chip())
        if programmed:
            program(analog)
        calibrate(analog, [IMAGES])
        with torch.no_grad():
            answers.append(analog(IMAGES))
    assert len(fits) == 2 and torch.equal(*answers)


def test_whatever_determines_a_fit_makes_another(small_chip: SmallChip, quantized: nn.Module, fits: list[str]) -> None:
    torch.manual_seed(1)
    other = quantize(nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)), [IMAGES])
    chip = small_chip()
    found = [
        calibrated(quantized, chip),
        calibrated(other, chip),
        calibrated(quantized, small_chip("adc.bits=6")),
        calibrated(quantized, small_chip("silicon.drift_cell=30 mV")),
        calibrated(quantized, small_chip("silicon.drift_cell=30 mV").specimen(0, 1)),
        calibrated(quantized, chip, IMAGES.flip(0) / 2),
        calibrated(quantized, chip, seed=1),
        calibrated(quantized, chip, backend="nodal"),
    ]
    assert len(fits) == 2 * len(found) and len(set(found)) == len(found)


def test_a_damaged_fit_is_made_again(small_chip: SmallChip, quantized: nn.Module, fits: list[str]) -> None:
    first = calibrated(quantized, small_chip())
    (kept,) = FITS.files()
    kept.write_bytes(kept.read_bytes()[:-200])
    assert calibrated(quantized, small_chip()) == first and len(fits) == 4
    assert calibrated(quantized, small_chip()) == first and len(fits) == 4


class Own(nn.Sequential):
    """A network of user-supplied code."""


def test_nothing_is_kept_for_code_of_users(
    small_chip: SmallChip, quantized: nn.Module, fits: list[str], register: Callable[..., str]
) -> None:
    """Its results may depend on what no key describes."""
    own = register(BACKENDS["macro"].solve)
    for network, backend in ((Own(quantized), "macro"), (quantized, own)):
        for _ in range(2):
            calibrated(network, small_chip(), backend=backend)
    assert len(fits) == 8 and FITS.files() == []
