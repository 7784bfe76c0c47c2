"""Two rungs classify the same images: the numbers of the comparison, and biases that change predictions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import beta
from torch import nn

import norsim
from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.registry import BACKENDS, backend_named
from norsim.errors import ConfigurationError, ThresholdError
from norsim.evaluation.attribution import paired_loss
from norsim.evaluation.end_to_end import (
    EndToEnd,
    check_changed,
    chunk_sizes,
    compared,
    end_to_end,
    in_words,
    usual_images,
    why_absent,
)
from norsim.evaluation.proof.defaults import FIRST_CHUNK
from tests.conftest import OfTheTest, ready

Solver = Callable[[Tile, Stimulus], Currents]
RUNGS = ("lower", "upper")


def test_the_numbers_of_a_comparison_are_those_computed_by_hand() -> None:
    """Four images with margins of 4, 0.5, 1 and 0.2; the upper rung changes the second and the fourth."""
    lower = np.array([[5.0, 1.0, 0.0], [2.0, 1.5, 0.0], [0.0, 1.0, 2.0], [0.1, 0.3, 0.0]])
    upper = lower + np.array([[0.1, 0.0, 0.0], [0.0, 0.6, 0.0], [0.0, -0.2, 0.0], [0.3, 0.0, 0.0]])
    labels = np.array([0, 0, 1, 0])
    found = compared(RUNGS, lower, upper, labels)
    assert (found.rungs, found.images, found.changed) == (RUNGS, 4, 2)
    # Clopper and Pearson's interval of 2 in 4, from quantiles of the beta distribution.
    assert found.changed_ci95 == pytest.approx((beta.ppf(0.025, 2, 3), beta.ppf(0.975, 3, 2)), rel=1e-9)
    # Both classify the first correctly; the lower one also the second, the upper one also the fourth.
    assert found.accuracy_difference == 0.0
    assert found.max_logit_difference == pytest.approx(0.6)
    assert found.small_margin_fraction == 0.5
    loss = paired_loss(np.array([0, 1, 2, 0]), np.array([0, 0, 2, 1]), labels)
    assert found.accuracy_difference_ci95 == pytest.approx([end / 100 for end in loss.ci95])
    better = compared(RUNGS, lower, upper, np.array([0, 1, 2, 0]))
    assert better.accuracy_difference == 0.5, "the upper rung classifies two more images correctly"


def test_equal_scores_change_nothing() -> None:
    scores = np.random.default_rng(0).normal(size=(360, 10))
    found = compared(RUNGS, scores, scores.copy(), np.zeros(360, np.int64))
    assert found.changed == 0 and found.max_logit_difference == found.small_margin_fraction == 0.0
    # The rule of three, exactly: 1 - 0.025^(1/360).
    assert found.changed_ci95 == pytest.approx((0.0, 1 - 0.025 ** (1 / 360)))
    check_changed(found, 0.0103)
    with pytest.raises(ThresholdError, match=r"up to 1\.02 % may change; the limit is 1 %"):
        check_changed(found, 0.01)
    assert "lower and upper classify 360 of 360 images alike" in in_words(found)


def test_a_limit_needs_a_comparison() -> None:
    check_changed(None, None)
    with pytest.raises(ThresholdError, match="there is none"):
        check_changed(None, 0.5)


def test_only_a_rung_with_a_next_one_has_a_comparison() -> None:
    reasons = {name: why_absent(backend) for name, backend in BACKENDS.items()}
    assert reasons.pop("macro") == "" and all(reasons.values())
    assert reasons["ngspice"] == "ngspice itself solved every read"


def test_images_are_classified_in_growing_chunks() -> None:
    assert list(chunk_sizes(3)) == [3] and list(chunk_sizes(360)) == [4, 8, 16, 32, 64, 100, 100, 36]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Return a linear classifier of six inputs on small tiles; its converters keep their full scale."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    size = ("tile.wordlines=8", "tile.bitlines=8", "bit_serial.reference_every=4", "bit_serial.wires.strap_every=4")
    return ready(norsim.convert(norsim.quantize(model, [torch.rand(40, 6)]), norsim.load_chip("etox65", size)))


IMAGES, LABELS = torch.rand(50, 6, generator=torch.Generator().manual_seed(2)), np.arange(50) % 4


def biased(exact: Solver, share: float) -> Solver:
    """Return a solver that adds a share of the tile's largest read current to its first line."""

    def solve(tile: Tile, stimulus: Stimulus) -> Currents:
        currents = exact(tile, stimulus)
        bitline = currents.bitline.copy()
        bitline[:, 0] += share * bitline.max()
        return replace(currents, bitline=bitline)

    return solve


def test_a_bias_that_changes_predictions_is_seen(network: nn.Module, switched: Solver) -> None:
    upper = OfTheTest(switched, {"name": "upper"})
    found: dict[float, EndToEnd] = {}
    for share in (0.0, 1e-6, 2.0):
        lower = OfTheTest(biased(switched, share), {"name": "lower", "rung_above": upper})
        one = end_to_end(network, IMAGES, LABELS, lower)
        assert one is not None and one.images == 50 and one.rungs == RUNGS
        found[share] = one
    assert found[0.0].changed == found[0.0].max_logit_difference == 0
    assert found[1e-6].changed == 0, "less than a converter step"
    assert found[2.0].changed > 5 and found[2.0].max_logit_difference > 0
    with pytest.raises(ThresholdError, match="predictions differ between lower and upper"):
        check_changed(found[2.0], 0.1)
    check_changed(found[0.0], 0.1)


def test_both_rungs_have_the_same_converter_noise(switched: Solver, network: nn.Module) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    settings = ("tile.wordlines=8", "tile.bitlines=8", "bit_serial.reference_every=4",
                "bit_serial.wires.strap_every=4", "adc.noise=40")  # fmt: skip
    noisy = ready(norsim.convert(norsim.quantize(model, [torch.rand(40, 6)]), norsim.load_chip("etox65", settings)))
    lower = OfTheTest(switched, {"rung_above": OfTheTest(switched, {})})
    found, quiet = end_to_end(noisy, IMAGES, LABELS, lower), end_to_end(network, IMAGES, LABELS, lower)
    assert found is not None and found.changed == 0 and found.max_logit_difference == 0.0
    assert quiet is not None and found.small_margin_fraction == 0.0


def test_the_number_of_images_and_the_time_bound_the_work(network: nn.Module, switched: Solver) -> None:
    def slow(tile: Tile, stimulus: Stimulus) -> Currents:
        time.sleep(0.2)
        return switched(tile, stimulus)

    lower = OfTheTest(switched, {"rung_above": OfTheTest(slow, {})})
    counts = []
    for wanted, seconds in ((13, None), (50, 0.01), (2, 0.01)):
        found = end_to_end(network, IMAGES[:wanted], LABELS, lower, seconds=seconds)
        assert found is not None
        counts.append(found.images)
    assert counts == [13, FIRST_CHUNK, 2]
    assert end_to_end(network, IMAGES[:0], LABELS, lower) is None
    assert end_to_end(network, IMAGES, LABELS, backend_named("nodal")) is None


@pytest.fixture
def few_images_end_to_end() -> None:
    """Leave the number of images as users get it, in place of the fixture for all tests."""


def test_the_usual_number_of_images_follows_from_the_size_of_the_network() -> None:
    # The digits network and ResNet-20: all 360 test images, and 30.
    assert usual_images(30_848) >= 360
    assert usual_images(40.6e6) == 30
    assert usual_images(0) == usual_images(1) == 1000


def test_macro_and_nodal_agree_in_an_evaluation(network: nn.Module) -> None:
    data = (IMAGES, torch.from_numpy(LABELS))
    found = norsim.evaluate(network, data, spice_sample=0, proof_images=20)
    assert found.end_to_end is not None and found.summary()["end_to_end"]["rungs"] == ("macro", "nodal")
    assert found.end_to_end.images == found.end_to_end.predictions == 20 and (found.end_to_end.changed or 0) <= 1
    assert found.verification.tiles is not None and (found.verification.tiles.max_error_full_scale or 1) < 1e-4
    for options in ({"proof_images": 0}, {"backend": "nodal"}):
        assert norsim.evaluate(network, data, spice_sample=0, **options).end_to_end is None
    for options in ({"proof_images": -1}, {"proof_seconds": 0.0}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            norsim.evaluate(network, data, **options)
