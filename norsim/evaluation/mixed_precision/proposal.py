"""Propose the bits of each layer for a budget, and verify the proposal on other training images.

The training images are divided: some calibrate the quantization and measure sensitivities, others choose between
assignments, and the rest verify the chosen one, which they did not influence. Test images are never used.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from norsim.chip.model import Chip
from norsim.data import Dataset, Samples
from norsim.data.batches import InputBatches
from norsim.data.inputs.choice import Choice, Indices
from norsim.data.inputs.structure import Structure, split, taken
from norsim.data.tensors import tensors_of
from norsim.errors import ConfigurationError
from norsim.evaluation.attribution import Loss, paired_loss
from norsim.evaluation.metrics import Predictions, labels_of
from norsim.evaluation.mixed_precision.kept import KeptAnswers
from norsim.evaluation.mixed_precision.options import Choices, choices_of
from norsim.evaluation.mixed_precision.search import Assignment, path, within
from norsim.evaluation.mixed_precision.sensitivity import Sensitivity, measure, options_of, scores_of
from norsim.jobs.phases import Report, silent
from norsim.jobs.unit_store import UnitStore
from norsim.quantization.by_layer.bits import MAX_BITS, Bits
from norsim.quantization.quantize import Observed, observe
from norsim.random_streams import Stream, generator

CALIBRATION, BATCH = 512, 128


@dataclass(frozen=True)
class Budget:
    """What an assignment may cost: exactly one of the two is given.

    `points`   accuracy lost against the widest codes, in percentage points, 0 or more
    `energy`   converter energy as a share of that of the widest codes, above 0 and at most 1
    """

    points: float | None = None
    energy: float | None = None

    def __post_init__(self) -> None:
        if (self.points is None) == (self.energy is None):
            raise ConfigurationError("a search of bits needs one budget: either a loss in points or a share of energy")
        if self.points is not None and not 0 <= self.points <= 100:
            raise ConfigurationError(f"the largest loss is {self.points} points; expected 0 to 100")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise ConfigurationError(f"the share of energy is {self.energy}; expected above 0, at most 1")


@dataclass(frozen=True)
class Judged:
    """An assignment on the images that verify it.

    `share`      its converter energy as a share of that of the widest codes
    `accuracy`   of the quantized network, 0 to 1, and `loss` against the widest codes
    """

    bits: Mapping[str, Bits]
    share: float
    accuracy: float
    loss: Loss


@dataclass(frozen=True)
class Proposal:
    """Proposed bits, with what they were chosen by.

    `choices`, `sensitivities`   by layer
    `joules`     converter energy per image with the widest codes
    `proposed`   the proposal
    `accuracy_widest`, `accuracy_float`   on the images that verify, 0 to 1
    `uniform`    the best assignment of the same widths to all layers that takes no more energy, None if there is none,
                 and `against_uniform`, what the proposal loses against it: less than 0 if it is better
    `images`     numbers of training images, by what they were used for
    """

    choices: Mapping[str, Choices]
    sensitivities: Mapping[str, Sensitivity]
    joules: float
    proposed: Judged
    accuracy_widest: float
    accuracy_float: float
    uniform: Judged | None
    against_uniform: Loss | None
    images: Mapping[str, int]


def read_parts(
    load: Callable[[Choice], Dataset | Samples], choose: int, verify: int, seed: int = 0
) -> dict[str, Dataset | Samples]:  # fmt: skip
    """Return the training samples of a proposal by what they are for: the parts that `divided` names.

    `load` reads a choice of the training samples; it is called once, for these alone. Raises ConfigurationError for too
    few.
    """
    parts: dict[str, Indices] = {}

    def wanted(available: int) -> Indices:
        parts.update(divided(available, choose, verify, seed))
        return np.sort(np.concatenate(list(parts.values())))

    data = load(wanted)
    read = np.sort(np.concatenate(list(parts.values())))
    return {name: data.chosen(np.searchsorted(read, part)) for name, part in parts.items()}


def propose(
    network: nn.Module, parts: Mapping[str, Dataset | Samples], chip: Chip, budget: Budget, *,
    digital: Collection[str] = (), report: Report = silent, store: UnitStore | None = None,
) -> Proposal:  # fmt: skip
    """Return the bits of each layer of a float `network` that lose least within a `budget`, on the training data that
    `read_parts` returns.

    What quantized networks answer is taken from `store` if it has that, and added to it otherwise. Modules that match
    the patterns `digital` stay float. Raises ConfigurationError for a budget that nothing meets, and as
    `norsim.quantize`; PlacementError for a layer that `chip` cannot hold; DataError for data without one class for each
    image.
    """
    tensors = {name: tensors_of(part) for name, part in parts.items()}
    inputs = {name: one[0] for name, one in tensors.items()}
    labels = {name: labels_of(one[1], len(parts[name])) for name, one in tensors.items()}
    seen = observe(network, InputBatches(list(split(inputs["calibrate"], BATCH))), digital, report)
    uniform = seen.widths(MAX_BITS)
    choices = choices_of(seen.quantized(uniform), chip, taken(inputs["calibrate"], slice(1)))
    _check_energy(budget, choices)
    found = measure(seen, choices, report, store)
    options = {name: options_of(own, found[name]) for name, own in choices.items()}
    widest = path(options)[0]
    full = scores_of(seen.network, inputs["verify"])
    answers = KeptAnswers.of(seen, full, store)
    trial = Trials(seen, inputs["choose"], labels["choose"], report, "try", answers)
    if budget.points is None:
        chosen = within(options, float(budget.energy or 0) * widest.joules)
    else:
        chosen = trial.last_within(path(options), budget.points)
    alike = best_uniform(choices, chosen.joules, trial)
    right = labels["verify"]
    check = Trials(seen, inputs["verify"], right, report, "verify", answers)
    first, last = check.classes(widest.bits), check.classes(chosen.bits)

    def judged(bits: Mapping[str, Bits]) -> Judged:
        joules = sum(choices[name].energy(one) for name, one in bits.items())
        classes = check.classes(bits)
        return Judged(bits, joules / widest.joules, share(classes, right), paired_loss(first, classes, right))

    return Proposal(
        choices, found, widest.joules, judged(chosen.bits), share(first, right), share(full.argmax(1).numpy(), right),
        None if alike is None else judged(alike),
        None if alike is None else paired_loss(check.classes(alike), last, right),
        {name: len(part) for name, part in parts.items()},
    )  # fmt: skip


def _check_energy(budget: Budget, choices: Mapping[str, Choices]) -> None:
    """Raise ConfigurationError, before anything is measured, for a share of energy that no widths take."""
    narrowest = sum(own.energy(Bits(own.weights[-1], own.activations[-1])) for own in choices.values())
    least = narrowest / sum(own.energy(own.widest) for own in choices.values())
    if budget.energy is not None and budget.energy < least:
        raise ConfigurationError(f"no bits take so little energy; the least is {least:.3g} of the widest codes'")


def share(classes: Predictions, labels: Predictions) -> float:
    """Return the share of `classes` `[images]` that are the `labels` `[images]`."""
    return float((classes == labels).mean())


def divided(count: int, choose: int, verify: int, seed: int) -> dict[str, Indices]:
    """Divide the indices `[images]` of `count` training images: those that calibrate are spread evenly, as in a
    training; of the others, up to `choose` and `verify` random ones choose and verify, but at most half choose."""
    calibrating = np.arange(count)[:: max(count // CALIBRATION, 1)][:CALIBRATION]
    rest = generator(seed, Stream.BIT_IMAGES).permutation(np.setdiff1d(np.arange(count), calibrating))
    choose = min(choose, len(rest) // 2)
    if not choose:
        raise ConfigurationError(
            f"{count} training images are too few: {len(calibrating)} of them calibrate, others must choose and verify"
        )
    return {"calibrate": calibrating, "choose": rest[:choose], "verify": rest[choose : choose + verify]}


class Trials:
    """Quantized networks on labelled images: each assignment is classified once.

    `images` `[images, ...]`, `labels` `[images]`; `kept` are answers of an interrupted search
    """

    def __init__(
        self, seen: Observed, images: Structure, labels: Predictions, report: Report, what: str, kept: KeptAnswers
    ) -> None:  # fmt: skip
        self.seen, self.images, self.labels, self.report, self.what = seen, images, labels, report, what
        self.kept = kept.about_inputs(what, images)
        self.done: dict[tuple[tuple[str, Bits], ...], Predictions] = {}

    def classes(self, bits: Mapping[str, Bits]) -> Predictions:
        """Return the classes `[images]` of the network with these bits."""
        key = tuple(sorted(bits.items(), key=lambda pair: pair[0]))
        if key not in self.done:
            self.report(f"{self.what} bits", len(self.done), len(self.done) + 1)
            self.done[key] = self.kept.once(
                bits, lambda: scores_of(self.seen.quantized(bits), self.images).argmax(1).numpy()
            )
        return self.done[key]

    def last_within(self, assignments: list[Assignment], points: float) -> Assignment:
        """Return the assignment of least energy whose measured loss against the first is at most `points`.

        Losses are taken to rise along the `assignments`, so the place is found by bisection.
        """
        first, low, high = self.classes(assignments[0].bits), 0, len(assignments)
        while high - low > 1:
            middle = (low + high) // 2
            lost = paired_loss(first, self.classes(assignments[middle].bits), self.labels).points
            low, high = (middle, high) if lost <= points else (low, middle)
        return assignments[low]


def best_uniform(choices: Mapping[str, Choices], joules: float, trial: Trials) -> dict[str, Bits] | None:
    """Return the most accurate assignment of the same widths to all layers that takes at most `joules`."""
    fitting: list[Bits] = []
    for weights in range(MAX_BITS, 0, -1):
        for activations in range(MAX_BITS, 0, -1):
            pair = Bits(weights, activations)
            if any(weights not in own.conversions or activations not in own.passes for own in choices.values()):
                continue
            if any(one.weights >= weights and one.activations >= activations for one in fitting):
                continue
            if sum(own.energy(pair) for own in choices.values()) <= joules * (1 + 1e-9):
                fitting.append(pair)
    found = [dict.fromkeys(choices, pair) for pair in fitting]
    return max(found, key=lambda bits: share(trial.classes(bits), trial.labels), default=None)


def text_of(bits: Mapping[str, Bits]) -> str:
    """Return the bits of each layer as text for norsim.quantization.by_layer.bits.read_bits: the most common ones for
    all layers that are not named."""
    (common, _), *others = Counter(bits.values()).most_common()
    if not others:
        return str(common)
    named = [f"{glob.escape(name)}={one}" for name, one in bits.items() if one != common]
    return ",".join([*named, f"*={common}"])
