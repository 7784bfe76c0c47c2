"""Use of converters, counted in new reads, or in the kept ones if no new reads are possible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from norsim.chip.model import Chip
from norsim.evaluation.proof.sampling import Sample
from norsim.experiments.read_back import read_run
from norsim.experiments.run_record import Missing
from norsim.periphery.adc import Adc
from norsim.quantization.layer import QuantizedLayer
from norsim.report.converters import uses
from norsim.tiling.grid import place


def test_used_codes_and_clipped_reads_are_counted(
    small_chip: Callable[..., Chip], make_layer: Callable[..., QuantizedLayer]
) -> None:
    part = replace(place(make_layer(8, 4), small_chip()).tiles[0], adcs=(Adc(3, 0.0, 7e-6),))
    stimulus = part.chip.encoding.drive(np.ones((1, 8), np.uint8), 4, 4).take(slice(0, 1))
    amps = np.array([[-0.6e-6, 0.0, 3.2e-6, 7.4e-6], [7.6e-6, 1e-6, -0.4e-6, 5e-6]])
    samples = [Sample(0.0, part, stimulus, row, part.convert(row).astype(np.int32)) for row in amps]
    found = uses({"fc": samples}, Missing("no network"), Missing("no images"), 0)
    (layer,) = found.layers
    assert layer.counts.tolist() == [3, 1, 0, 1, 0, 1, 0, 2]
    assert (layer.clipped, layer.conversions, layer.reads, layer.bits) == (0.25, 8, 2, 3)
    assert "no network" in found.how and "2 reads that the run kept" in found.how


def test_more_reads_are_made_if_images_are_available(macro_run: Path) -> None:
    found = read_run(macro_run)
    kept = found.reads_by_layer()
    more = uses(kept, found.model, found.data, 0)
    fewer = uses(kept, found.model, Missing("gone"), 0)
    assert [layer.layer for layer in more.layers] == [layer.layer for layer in fewer.layers] == list(kept)
    assert "again by nodal" in more.how and "gone" in fewer.how
    for layer in (*more.layers, *fewer.layers):
        assert layer.counts.sum() == layer.conversions > 0
    # The range was fitted to similar activations: most of it is used, and little is clipped.
    assert all(layer.clipped < 0.05 and (layer.counts > 0).sum() > 8 for layer in more.layers)
    again = uses(kept, found.model, found.data, 0)
    assert all(np.array_equal(a.counts, b.counts) for a, b in zip(more.layers, again.layers, strict=True))
    assert sum(layer.reads for layer in fewer.layers) == len(found.samples) >= 200  # type: ignore[arg-type]
    assert fewer.layers[0].clipped == pytest.approx(more.layers[0].clipped, abs=0.2)
