"""Losses paired by image, and their attribution to causes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.attribution import (
    Attribution,
    Remainder,
    attribute,
    paired_loss,
    remainder,
    summary,
    verdict_of,
)
from norsim.evaluation.metrics import Outcome, outcome
from norsim.evaluation.shapley import orders_of
from tests.evaluation.populations import Answer, Population, drawn

LABELS = np.zeros(100, dtype=np.int64)


def right(*spans: tuple[int, int]) -> np.ndarray:
    """Return `[100]` classes that are correct on the images in `spans`."""
    found = np.ones(100, dtype=np.int64)
    for first, last in spans:
        found[first:last] = 0
    return found


def attributed(
    names: tuple[str, ...], answer: Answer, images: int, margin: float = 1.0, orders: int = 8
) -> Attribution:  # fmt: skip
    labels = np.zeros(images, np.int64)
    chosen = orders_of(names, orders, np.random.default_rng(0))
    return attribute(names, answer, answer(frozenset()), None, labels, chosen, margin)


def of_classes(classes: np.ndarray) -> Outcome:
    return Outcome(classes, np.where(classes == 0, 0.1, 2.5))


def test_a_loss_counts_the_images_that_only_one_classifies_correctly() -> None:
    found = paired_loss(right((0, 80)), right((5, 82)), LABELS)
    assert found.points == pytest.approx(3.0)  # 5 lost, 2 gained
    # Agresti and Min by hand: 5.5 and 2.5 of 102 in the two off-diagonal cells.
    middle = 3 / 102
    spread = 1.959964 * np.sqrt(8 / 102 - middle**2) / np.sqrt(102)
    assert found.ci95 == pytest.approx((100 * (middle - spread), 100 * (middle + spread)), rel=1e-6)


def test_equal_classes_lose_nothing_and_the_interval_contains_zero() -> None:
    found = paired_loss(right((0, 90)), right((0, 90)), LABELS)
    assert found.points == 0 and found.ci95[0] < 0 < found.ci95[1]


def test_the_interval_has_its_nominal_coverage() -> None:
    random = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        before, after = random.random((2, 300)) < [[0.9], [0.86]]
        low, high = paired_loss(
            1 - before.astype(np.int64), 1 - after.astype(np.int64), np.zeros(300, dtype=np.int64)
        ).ci95
        held += low <= 4.0 <= high
    assert 0.92 <= held / 400 <= 0.985


def separate(images: int) -> Answer:
    """Two causes that lose different images: 4 % and 6 % of them."""

    def answer(on: frozenset[str]) -> Outcome:
        classes = np.zeros(images, np.int64)
        for name, (first, last) in {"wires": (0.0, 0.04), "converter": (0.04, 0.1)}.items():
            classes[round(first * images) : round(last * images)] += name in on
        return of_classes(classes)

    return answer


def test_causes_that_do_not_interact_add_up() -> None:
    found = attributed(("wires", "converter"), separate(1000), 1000)
    for kind in ("alone", "without", "shapley"):
        assert [getattr(share, kind).points for share in found.shares] == pytest.approx([4.0, 6.0])
    # An image goes from 0.1 to 2.5 nats.
    assert [share.cross_entropy.nats for share in found.shares] == pytest.approx([0.04 * 2.4, 0.06 * 2.4])
    assert found.array.points == pytest.approx(10.0) and found.base.points == 0
    assert found.array_cross_entropy.nats == pytest.approx(0.24) and found.base_cross_entropy.nats == 0
    assert found.remainder.points == pytest.approx(0.0, abs=1e-9) and found.verdict == "adds up"
    assert found.exact and found.orders == 2
    # A hundred images without a remainder do not exclude one of a point: 1 image of 100.
    assert attributed(("wires", "converter"), separate(100), 100).verdict == "inconclusive"
    assert attributed(("wires", "converter"), separate(100), 100, margin=3.0).verdict == "adds up"


def test_causes_that_only_matter_together_do_not_add_up_but_their_shapley_values_do() -> None:
    def answer(on: frozenset[str]) -> Outcome:
        return of_classes(right((0, 60)) if len(on) == 2 else right((0, 100)))

    found = attributed(("wires", "converter"), answer, 100)
    assert found.remainder.points == pytest.approx(40.0) and found.verdict == "does not add up"
    assert found.quantization is None
    first = found.shares[0]
    assert first.alone.points == 0 and first.without.points == pytest.approx(40.0)
    # By symmetry each has half of the loss.
    assert [share.shapley.points for share in found.shares] == pytest.approx([20.0, 20.0])
    content = summary(found)
    assert content["verdict"] == "does not add up" and content["margin_points"] == 1.0
    assert "adds_up" not in content and content["remainder_points"] == pytest.approx(40.0)


@pytest.mark.parametrize("causes", [4, 9])
def test_shapley_values_add_up_and_configurations_are_shared(causes: int) -> None:
    """Exactly for four causes, and by eight random orders of nine."""
    random = np.random.default_rng(1)
    effects = {f"layer{number}": random.normal(0.2, 0.4, 500) for number in range(causes)}
    population = Population(random.normal(2.0, 1.5, 500), effects, 0.2)
    asked: Counter[frozenset[str]] = Counter()

    def answer(on: frozenset[str]) -> Outcome:
        asked[on] += 1
        return population.answer(on)

    found = attributed(population.names, answer, 500)
    assert set(asked.values()) <= {1, 2} and asked[frozenset()] == 2  # the latter also as the digital network
    assert sum(share.shapley.points for share in found.shares) == pytest.approx(found.array.points - found.base.points)
    assert sum(share.cross_entropy.nats for share in found.shares) == pytest.approx(
        found.array_cross_entropy.nats - found.base_cross_entropy.nats
    )
    assert found.exact == (causes == 4) and found.orders == (24 if causes == 4 else 8)
    if causes == 4:
        truth = population.shares()
        assert [share.shapley.points for share in found.shares] == pytest.approx([truth[name] for name in truth])
        assert len(asked) == 16
    else:
        assert len(asked) <= 2 + 18 + 8 * 6


def covered(reps: int, images: int, seed: int) -> dict[str, float]:
    """Return the share of repetitions in which each kind of interval covers the truth of the population."""
    random = np.random.default_rng(seed)
    population = drawn(100_000, random, together=0.1)
    names, truth, everything = population.names, population.shares(), frozenset(population.names)
    nothing = population.answer(frozenset()).cross_entropy.mean()
    rise = float(population.answer(everything).cross_entropy.mean() - nothing)
    lost = {
        "alone": {name: population.wrong(frozenset({name})) - population.wrong(frozenset()) for name in names},
        "without": {name: population.wrong(everything) - population.wrong(everything - {name}) for name in names},
        "shapley": truth,
    }
    left, held = population.left(), Counter[str]()
    for _ in range(reps):
        one = population.sample(random.integers(len(population.margins), size=images))
        found = attributed(names, one.answer, images)
        for kind, values in lost.items():
            for share in found.shares:
                low, high = getattr(share, kind).ci95
                held[kind] += low <= values[share.name] <= high
        held["remainder"] += found.remainder.ci95[0] <= left <= found.remainder.ci95[1]
        held["cross-entropy"] += found.array_cross_entropy.ci95[0] <= rise <= found.array_cross_entropy.ci95[1]
    per = dict.fromkeys(lost, reps * len(names)) | {"remainder": reps, "cross-entropy": reps}
    return {kind: held[kind] / count for kind, count in per.items()}


@pytest.mark.slow
def test_intervals_cover_the_truth_of_a_simulated_population() -> None:
    """Of 100 repetitions with 300 images each; the soak test below has the full number."""
    found = covered(100, 300, seed=0)
    assert all(0.90 <= share <= 0.99 for share in found.values()), found


@pytest.mark.soak
@pytest.mark.parametrize("seed", [0, 1])
def test_intervals_cover_the_truth_in_93_to_97_percent_of_400_repetitions(seed: int) -> None:
    found = covered(400, 400, seed)
    assert all(0.93 <= share <= 0.97 for share in found.values()), found


def test_intervals_of_sampled_orders_cover_the_shapley_values() -> None:
    """Six causes that interact strongly, so that orders matter as much as images; eight orders of 720."""
    random = np.random.default_rng(2)
    effects = {f"layer{number}": random.normal(0.2 * number, 0.2, 50_000) for number in range(6)}
    population = Population(random.normal(2.0, 1.0, 50_000), effects, 0.3)
    truth, held, widths = population.shares(), 0, []
    for number in range(60):
        one = population.sample(random.integers(50_000, size=200))
        orders = orders_of(population.names, 8, np.random.default_rng(number))
        found = attribute(one.names, one.answer, one.answer(frozenset()), None, np.zeros(200, np.int64), orders)
        assert not found.exact
        held += sum(share.shapley.ci95[0] <= truth[share.name] <= share.shapley.ci95[1] for share in found.shares)
        widths.append(np.mean([share.shapley.ci95[1] - share.shapley.ci95[0] for share in found.shares]))
    assert 0.92 <= held / 360 <= 0.995, held / 360
    # An interval that is too wide to miss would say nothing.
    assert np.mean(widths) < 30, np.mean(widths)


def left_over(images: int, points: float, random: np.random.Generator) -> np.ndarray:
    """Draw remainders of images with a known mean in points: some images need both causes (1), some are lost by either
    one (-1)."""
    either = 0.005
    both = either + points / 100
    return random.choice([1.0, -1.0, 0.0], images, p=[both, either, 1 - both - either])


@pytest.mark.parametrize(
    ("images", "points", "least", "most"),
    [
        # The true remainder in points, beside a margin of 2; bounds on the share of each verdict.
        (500, 0.0, {"adds up": 0.9}, {"does not add up": 0.0}),
        (500, 6.0, {"does not add up": 0.9}, {"adds up": 0.0}),
        (500, -0.4, {"adds up": 0.9}, {"does not add up": 0.0}),
        # On the margin, errors of either kind are as rare as their tests allow: 5 % and 2.5 %, and chance.
        (500, 2.0, {"inconclusive": 0.85}, {"adds up": 0.10, "does not add up": 0.06}),
        (60, 0.0, {"inconclusive": 0.9}, {"does not add up": 0.0}),
    ],
)
def test_each_verdict_occurs_where_it_should(
    images: int, points: float, least: dict[str, float], most: dict[str, float]
) -> None:
    random, reps = np.random.default_rng(7), 100
    found = Counter(verdict_of(remainder(left_over(images, points, random)), 2.0) for _ in range(reps))
    assert set(found) <= {"adds up", "does not add up", "inconclusive"}
    assert all(found[name] >= share * reps for name, share in least.items()), found
    assert all(found[name] <= share * reps for name, share in most.items()), found


@pytest.mark.parametrize(
    ("ci90", "ci95", "verdict"),
    [
        ((-0.9, 0.9), (-1.1, 1.1), "adds up"),
        ((-1.0, 0.9), (-1.1, 1.1), "inconclusive"),
        ((0.2, 0.9), (0.1, 0.95), "adds up"),
        ((0.2, 1.9), (0.1, 2.0), "inconclusive"),
        ((1.2, 1.9), (1.1, 2.0), "does not add up"),
        ((-1.9, -1.2), (-2.0, -1.1), "does not add up"),
        ((1.2, 1.9), (0.9, 2.0), "inconclusive"),
    ],
)
def test_exactly_one_verdict_applies(
    ci90: tuple[float, float], ci95: tuple[float, float], verdict: str
) -> None:  # fmt: skip
    assert verdict_of(Remainder(sum(ci90) / 2, ci95, ci90), 1.0) == verdict


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan"), float("inf"), "1"])
def test_a_margin_is_above_zero(margin: float) -> None:
    with pytest.raises(ConfigurationError, match="expected percentage points above 0"):
        attributed(("wires", "converter"), separate(10), 10, margin)


@pytest.mark.parametrize("orders", [1, 0, 2.5])
def test_one_order_has_no_interval(orders: int) -> None:
    with pytest.raises(ConfigurationError, match="expected an integer of at least 2"):
        orders_of(tuple("abcdefg"), orders, np.random.default_rng(0))


def test_a_cross_entropy_is_the_negative_logarithm_of_the_softmax() -> None:
    found = outcome(torch.tensor([[np.log(3.0), 0.0], [0.0, 0.0], [-1e4, 1e4]]), np.array([0, 1, 0]))
    assert found.cross_entropy == pytest.approx([np.log(4 / 3), np.log(2), 2e4]) and found.classes[0] == 0
    with pytest.raises(DataError, match="labels go up to 2; expected 0 to 1"):
        outcome(torch.zeros(1, 2), np.array([2]))
