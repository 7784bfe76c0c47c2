"""Use of each layer's converters: the distribution of codes, and the share of clipped currents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from norsim.array.tile import Floats
from norsim.backends.nodal import Nodal
from norsim.data import Dataset
from norsim.data.tensors import images_tensor
from norsim.errors import NorsimError
from norsim.evaluation.proof.sampling import Sample
from norsim.experiments.run_record import Missing
from norsim.periphery.encoding import Codes
from norsim.random_streams import Stream, generator
from norsim.tiling.modules import layer_vectors
from norsim.tiling.program import program_tile
from norsim.tiling.tile import PlacedTile

ByLayer = Mapping[str, Sequence[Sample]]

BINS = 64
IMAGES, TILES, VECTORS = 4, 2, 12


@dataclass(frozen=True, eq=False)
class CodeUse:
    """Use of a layer's converters over `conversions` conversions in `reads` reads.

    `counts`   `[64 or fewer]`: histogram of codes from the lowest to the highest
    `clipped`  share of currents outside the range by more than half a step
    """

    layer: str
    bits: int
    counts: NDArray[np.int64]
    clipped: float
    conversions: int
    reads: int


@dataclass(frozen=True)
class Uses:
    """Converter use by layer, and a sentence on the reads behind it."""

    layers: tuple[CodeUse, ...]
    how: str


def uses(reads: ByLayer, model: nn.Module | Missing, data: Dataset | Missing, seed: int) -> Uses:
    """Return the converter use of each layer in `reads`, which the run kept: over new reads by nodal if the images are
    available, else over the kept ones."""
    kept = f"Codes of the {sum(map(len, reads.values()))} reads that the run kept"
    if isinstance(model, nn.Module) and isinstance(data, Dataset):
        count = min(IMAGES, len(data))
        try:
            found = _read_again(reads, model, data.take(count), seed)
        except NorsimError as problem:
            return Uses(_of_kept(reads), f"{kept}; further reads failed: {problem}")
        return Uses(found, f"For this page up to {TILES} tiles of each layer were read "
                    f"again by nodal, with {VECTORS} activation vectors each, drawn (seed {seed}) from the first "
                    f"{count} test images in the quantized network, and with the run's converter ranges.")  # fmt: skip
    reason = model.reason if isinstance(model, Missing) else data.reason if isinstance(data, Missing) else ""
    return Uses(_of_kept(reads), f"{kept}. {reason}")


def _of_kept(reads: ByLayer) -> tuple[CodeUse, ...]:
    return tuple(_use(name, [(sample.part, sample.amps[None]) for sample in some]) for name, some in reads.items())


def _read_again(kept: ByLayer, model: nn.Module, data: Dataset, seed: int) -> tuple[CodeUse, ...]:
    codes = layer_vectors(model, images_tensor(data), list(kept))
    found = []
    for name, some in kept.items():
        random = generator(seed, Stream.REPORT_VECTORS, *name.encode())
        chosen = np.sort(random.choice(len(codes[name]), min(VECTORS, len(codes[name])), replace=False))
        # The part of a sample has the run's converter.
        parts = list({sample.part.name: sample.part for sample in some}.values())[:TILES]
        reads = [(part, _currents(part, codes[name][chosen])) for part in parts]
        found.append(_use(name, reads))
    return tuple(found)


def _currents(part: PlacedTile, codes: Codes) -> Floats:
    """`[reads, conversions]` amperes of a tile for the layer's `[vectors, inputs]` codes, by nodal."""
    array = program_tile(part)
    stimulus, again = array.drive(part.codes(codes)).distinct()
    return part.amps(Nodal().read(array.tile, stimulus).take(again))


def _use(layer: str, reads: Sequence[tuple[PlacedTile, Floats]]) -> CodeUse:
    """Return the converter use for currents `[reads, conversions]` of tiles."""
    bits = reads[0][0].ranges.bits
    counts, outside, conversions = np.zeros(min(2**bits, BINS), np.int64), 0, 0
    for part, amps in reads:
        codes = part.convert(amps).astype(np.int64)
        counts += np.bincount(codes.ravel() * len(counts) // 2**bits, minlength=len(counts))
        outside += sum(part.clipped(amps))
        conversions += codes.size
    return CodeUse(layer, bits, counts, outside / conversions, conversions, sum(len(amps) for _, amps in reads))
