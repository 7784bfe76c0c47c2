"""Shapley values: a total change as shares of the factors that make it.

The share of a factor is the mean change when it is added, over all orders in which the factors can be added (L. S.
Shapley, "A value for n-person games", 1953). The changes along one order add up to the total, so their means do too,
over all orders or over a random sample of them (Castro, Gomez and Tejada, "Polynomial calculation of the Shapley value
based on sampling", Computers & Operations Research 36, 2009).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats
from norsim.errors import ConfigurationError

Order = tuple[str, ...]
# All orders of so many factors have at most 2^5 configurations.
MOST_EXACT = 5
FEWEST_ORDERS = 2


def orders_of(names: Sequence[str], sampled: int, random: np.random.Generator) -> list[Order]:
    """Return all orders of up to 5 names, or `sampled` random ones of more names.

    Raises ConfigurationError for fewer than 2 sampled orders, which have no interval.
    """
    if not isinstance(sampled, int) or sampled < FEWEST_ORDERS:
        raise ConfigurationError(f"orders is {sampled!r}; expected an integer of at least {FEWEST_ORDERS}")
    if len(names) <= MOST_EXACT:
        return list(itertools.permutations(names))
    return [tuple(names[place] for place in random.permutation(len(names))) for _ in range(sampled)]


def configurations(names: Sequence[str], orders: Sequence[Order]) -> list[frozenset[str]]:
    """Return the sets of factors that have to be on together, each once: none, all, each one alone, all but each one,
    and the beginnings of all orders."""
    everything = frozenset(names)
    needed = [frozenset[str](), everything]
    needed += [frozenset({name}) for name in names] + [everything - {name} for name in names]
    needed += [frozenset(order[:count]) for order in orders for count in range(len(order))]
    return list(dict.fromkeys(needed))


@dataclass(frozen=True, eq=False)
class Shapley:
    """Changes by factor, each the mean over orders.

    `by_image`   `[factors, images]`
    `by_order`   `[orders, factors]`, mean over the images, in each order
    `exact`      whether those are all orders
    """

    by_image: Floats
    by_order: Floats
    exact: bool


def shapley(
    names: Sequence[str], orders: Sequence[Order], values: Callable[[frozenset[str]], NDArray[np.floating]]
) -> Shapley:  # fmt: skip
    """Return the shares of `names` in the change of `values(on)`, `[images]`, from no factor on to all."""
    start = np.asarray(values(frozenset()), float)
    by_image = np.zeros((len(names), len(start)))
    by_order = np.zeros((len(orders), len(names)))
    for number, order in enumerate(orders):
        before = start
        for count, name in enumerate(order, 1):
            after = np.asarray(values(frozenset(order[:count])), float)
            by_image[names.index(name)] += (after - before) / len(orders)
            by_order[number, names.index(name)] = float(after.mean() - before.mean())
            before = after
    return Shapley(by_image, by_order, len(set(orders)) == math.factorial(len(names)))
