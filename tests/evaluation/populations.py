"""Simulated populations of images, on which the loss to each cause is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from norsim.evaluation.metrics import Outcome, outcome

Answer = Callable[[frozenset[str]], Outcome]


@dataclass(frozen=True)
class Population:
    """Images of two classes, with labels 0.

    `margins`   `[images]`, the score of the label above that of the other class, without any cause
    `effects`   `[images]` by cause, what the cause takes from the margin
    `together`  what two or more causes take in addition, per further cause; 0 for causes that add
    """

    margins: np.ndarray
    effects: Mapping[str, np.ndarray]
    together: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.effects)

    def sample(self, chosen: np.ndarray) -> Population:
        """Return some of the images."""
        effects = {name: values[chosen] for name, values in self.effects.items()}
        return Population(self.margins[chosen], effects, self.together)

    def answer(self, on: frozenset[str]) -> Outcome:
        left = self.margins - self.together * max(len(on) - 1, 0)
        for name in on:
            left = left - self.effects[name]
        scores = torch.from_numpy(np.stack([left, np.zeros(len(left))], axis=1))
        return outcome(scores, np.zeros(len(left), np.int64))

    def wrong(self, on: frozenset[str]) -> float:
        """Return the share of images that are classified wrongly, in points."""
        return 100 * float((self.answer(on).classes != 0).mean())

    def shares(self) -> dict[str, float]:
        """Return the Shapley values in points, from their definition: the mean over all permutations."""
        found = dict.fromkeys(self.names, 0.0)
        orders = list(itertools.permutations(self.names))
        wrong = {
            frozenset(some): self.wrong(frozenset(some))
            for count in range(len(self.names) + 1)
            for some in itertools.combinations(self.names, count)
        }
        for order in orders:
            for place, name in enumerate(order):
                after, before = frozenset(order[: place + 1]), frozenset(order[:place])
                found[name] += (wrong[after] - wrong[before]) / len(orders)
        return found

    def left(self) -> float:
        """Return the remainder in points: the total loss minus the losses by each cause alone."""
        nothing = self.wrong(frozenset())
        alone = sum(self.wrong(frozenset({name})) - nothing for name in self.names)
        return self.wrong(frozenset(self.names)) - nothing - alone


def drawn(images: int, random: np.random.Generator, together: float = 0.0) -> Population:
    """Draw images with normal margins and four causes of different sizes, one of which helps some images."""
    sizes = {"cell": (0.1, 0.3), "bitline": (0.3, 0.2), "source line": (0.5, 0.5), "converter": (0.0, 0.8)}
    effects = {name: random.normal(mean, spread, images) for name, (mean, spread) in sizes.items()}
    return Population(random.normal(2.0, 1.5, images), effects, together)
