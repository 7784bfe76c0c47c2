"""Attribution of the accuracy that a deployed network loses: by cause, by mitigation, or by layer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any, get_args

from torch import nn

from norsim.array.non_idealities.charge_loss import ChargeLoss
from norsim.backends.ideal import Ideal
from norsim.backends.programming import neutral_volts
from norsim.backends.registry import backend_named
from norsim.data.batches import Data, batches_of, check_repeatable
from norsim.data.inputs.structure import count_of, joined
from norsim.errors import ConfigurationError
from norsim.evaluation.attribution import (
    MARGIN_POINTS,
    ORDERS,
    Attribution,
    attribute,
    check_margin,
    classify,
)
from norsim.evaluation.batches import classes
from norsim.evaluation.metrics import Outcome, Predictions, labels_of
from norsim.evaluation.shapley import Order, configurations, orders_of
from norsim.experiments.deployment import Deployment
from norsim.experiments.factors import By, factors_of, settings_with
from norsim.jobs.phases import Report, silent
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.periphery.registry import section_key
from norsim.quantization.copies import independent_copy
from norsim.random_streams import Stream, generator
from norsim.tiling.modules import tiled_layers
from norsim.tiling.reader import Reader


def attribute_losses(
    deployment: Deployment, data: Data, by: By = "causes", backend: str = "macro", *,
    margin: float = MARGIN_POINTS, orders: int = ORDERS, float_predictions: Predictions | None = None,
    workers: Workers = HERE, report: Report = silent, store: UnitStore | None = None,
) -> Attribution:  # fmt: skip
    """Return the losses relative to the digital network, on the same images, by each cause, mitigation (`cures`) or
    layer: alone, added to all others, and as Shapley values.

    `margin` is the largest remainder, in points, that counts as adding up. Shapley values of up to 5 causes or layers
    are exact, those of more are the mean over `orders` random orders, drawn from the seed. `float_predictions`
    `[images]` are the float network's classes; by default they are those of `deployment.original`, if that is known.
    Raises ConfigurationError for another `by`, margin or number of orders, DataError for data that can be iterated only
    once.
    """
    if by not in get_args(By):
        raise ConfigurationError(f"by is {by!r}; expected one of {', '.join(get_args(By))}")
    check_margin(margin)
    check_repeatable(data)
    labels = joined([labels_of(answers, count_of(some)) for some, answers in batches_of(data)])
    if float_predictions is None and deployment.original is not None:
        float_predictions = joined([classes(deployment.original, some) for some, _ in batches_of(data)])
    reader, done = Reader(backend_named(backend), workers, store=store), itertools.count(1)

    def fit(analog: nn.Module) -> nn.Module:
        return deployment.fit(analog, backend, workers=workers, report=report, store=store)

    names, network_with = _by_layers(deployment, fit) if by == "layers" else _by_factors(deployment, by, fit)

    chosen = drawn_orders(names, orders, deployment.seed)
    total = len(configurations(names, chosen))

    def answer(on: frozenset[str]) -> Outcome:
        found = classify(network_with(on), data, reader, labels, deployment.seed)
        report("classify", next(done), total)
        return found

    digital = classify(deployment.converted(), data, Reader(Ideal()), labels)
    return attribute(names, answer, digital, float_predictions, labels, chosen, margin)


def drawn_orders(names: Sequence[str], orders: int, seed: int) -> list[Order]:
    """Return the orders in which `names` are added: all, or `orders` random ones of many names."""
    return orders_of(names, orders, generator(seed, Stream.ATTRIBUTION_ORDERS))


def _by_factors(
    deployment: Deployment, by: str, fit: Callable[[nn.Module], nn.Module]
) -> tuple[tuple[str, ...], Callable[[frozenset[str]], nn.Module]]:
    """Return the factors, and a function that returns the calibrated network on a chip with only some of them."""
    chip = deployment.choice.chip
    factors = factors_of(by, chip)
    wires = f"{section_key(chip.encoding.name)}.wires"
    # The ideal cell that replaces the chip's has no charge of its own: it loses that of the cell it replaces.
    losing = any(isinstance(one, ChargeLoss) and one.neutral_volts is None for one in chip.silicon.mechanisms)
    neutral = [f"silicon.neutral={neutral_volts(chip.cell)} V"] if losing else []

    # Layers with converters of their own lose these with the chip's.
    layers: dict[str, Any] = deployment.choice.content.get("layers") or {}
    plain = {name: {key: value for key, value in keys.items() if key != "adc"} for name, keys in layers.items()}

    def network_with(on: frozenset[str]) -> nn.Module:
        settings = [*settings_with(wires, on, factors), *neutral]
        if plain and "converter" in factors and "converter" not in on:
            settings.append(f"layers={json.dumps(plain)}")
        return fit(deployment.with_settings(settings).converted())

    return tuple(factors), network_with


def _by_layers(
    deployment: Deployment, fit: Callable[[nn.Module], nn.Module]
) -> tuple[tuple[str, ...], Callable[[frozenset[str]], nn.Module]]:
    """Return the layers, and a function that returns the network with some of them on the array, with their fits."""
    analog = fit(deployment.converted())
    names = tuple(name for name, layer in tiled_layers(analog).items() if not layer.stays_digital)
    return names, lambda on: with_layers(analog, on)


def with_layers(analog: nn.Module, on: frozenset[str]) -> nn.Module:
    """Return a copy of a converted network with layers `on` on the array, the others digital; tiles are shared."""
    kept = {id(layer.grid): layer.grid for layer in tiled_layers(analog).values()}
    found = independent_copy(analog, kept)
    for name, layer in tiled_layers(found).items():
        layer.fixed = layer.fixed if name in on else Ideal()
    return found
