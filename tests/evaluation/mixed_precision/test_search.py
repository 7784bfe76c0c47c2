"""The search over bits of layers, against all assignments."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from norsim.evaluation.mixed_precision.search import Assignment, Option, filled, hull, path, within
from norsim.quantization.by_layer.bits import Bits


def options(*points: tuple[float, float]) -> list[Option]:
    """Return options of these energies and losses, with different widths."""
    return [Option(Bits(8, 8 - place), joules, loss) for place, (joules, loss) in enumerate(points)]


def all_of(layers: dict[str, list[Option]]) -> list[Assignment]:
    """Return every assignment."""
    return [Assignment(dict(zip(layers, chosen, strict=True))) for chosen in product(*layers.values())]


def test_a_hull_leaves_out_what_is_above_the_line_between_others() -> None:
    # The second lies above the line from the first to the third; the last is below that of the two before it.
    own = options((8, 0.0), (6, 1.0), (4, 0.5), (2, 1.0), (1, 4.0))
    assert [option.joules for option in hull(own)] == [8, 4, 2, 1]
    assert [option.joules for option in hull(options((8, 0.0)))] == [8]
    # Of equal energies the one that loses less counts.
    assert [option.loss for option in hull(options((8, 0.0), (4, 0.3), (4, 0.2)))] == [0.0, 0.2]


def test_the_layer_that_loses_least_per_energy_is_narrowed_first() -> None:
    layers = {"large": options((80, 0.0), (40, 0.4), (20, 2.0)), "small": options((8, 0.0), (4, 0.01), (2, 1.0))}
    steps = [tuple(option.joules for option in at.options.values()) for at in path(layers)]
    # Losses per energy saved: 0.0025, 0.01, 0.08, 0.495.
    assert steps == [(80, 8), (80, 4), (40, 4), (20, 4), (20, 2)]


def test_what_is_left_of_a_budget_is_used() -> None:
    layers = {"large": options((80, 0.0), (40, 0.4)), "small": options((8, 0.0), (4, 0.01), (2, 1.0))}
    found = within(layers, 50)
    assert found.joules == 48 and found.loss == 0.4
    assert within(layers, 41).joules == 42
    last = path(layers)[-1]
    assert filled(last, layers, last.joules) == last


LOSSES = st.lists(st.floats(0, 1), min_size=1, max_size=4)


@given(st.lists(LOSSES, min_size=1, max_size=3), st.lists(st.integers(1, 9), min_size=3, max_size=3))
def test_every_assignment_of_the_path_is_the_best_for_its_energy(steps: list[list[float]], scale: list[int]) -> None:
    layers = {}
    for place, rises in enumerate(steps):
        losses = [sum(rises[:count]) for count in range(len(rises) + 1)]
        layers[str(place)] = options(*((scale[place] * 2.0**-count, loss) for count, loss in enumerate(losses)))
    every = all_of(layers)
    found = path(layers)
    for at in found:
        best = min(other.loss for other in every if other.joules <= at.joules * (1 + 1e-12))
        assert at.loss == pytest.approx(best, abs=1e-9)
    energies = [at.joules for at in found]
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] == pytest.approx(min(at.joules for at in every))


@given(st.floats(0.05, 1))
def test_a_budget_is_never_exceeded(share: float) -> None:
    layers = {
        "a": options((8, 0.0), (4, 0.1), (2, 0.5)), "b": options((3, 0.0), (2, 0.2)), "c": options((5, 0.0), (1, 0.3)),
    }  # fmt: skip
    assert within(layers, 16 * share).joules <= max(16 * share, 5)
