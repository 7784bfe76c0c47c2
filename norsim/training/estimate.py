"""Time and memory of a training, estimated from a few batches, and the time of a quantization, from some inputs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from norsim.data import Dataset
from norsim.data.batches import InputBatches
from norsim.data.inputs.structure import Structure, count_of, taken
from norsim.evaluation.dry_run.rates import timed
from norsim.evaluation.dry_run.work import Estimate, Work
from norsim.quantization.by_layer.bits import BitsLike
from norsim.quantization.post_training.moments import moments_of
from norsim.quantization.post_training.rounding import STEPS, learn_rounding
from norsim.quantization.quantize import observe
from norsim.training.learner import CPU
from norsim.training.recipes import Recipe
from norsim.training.train import train
from norsim.zoo.registry import NetworkSpec

TRAINED_BATCHES = 8
# Inputs that are quantized, and steps of learned rounding, to measure their times.
TIMED_INPUTS, TIMED_STEPS = 32, 2


def estimate_training(
    spec: NetworkSpec, train_set: Dataset, test_set: Dataset, recipe: Recipe, device: torch.device = CPU
) -> Estimate:
    """Estimate a training on `device` from two epochs of each phase on a few batches; the second of each is counted."""
    batches = -(-len(train_set) // recipe.batch_size)
    few = min(batches, TRAINED_BATCHES)
    some = train_set.take(min(few * recipe.batch_size, len(train_set)))
    tested = test_set.take(max(len(test_set) * few // batches, 1))
    wanted = {"float": recipe.float_epochs, "quantized": recipe.quantized_epochs}
    short = replace(recipe, float_epochs=2, quantized_epochs=2)
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        records = train(spec, some, tested, short, Path(folder), device=device).records
        taken = time.monotonic() - started
        disk_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
    epochs = {record.phase: record.seconds for record in records if record.epoch == 2}
    once = taken - sum(record.seconds for record in records)
    work = Work(1, own=once + sum(wanted[phase] * epochs[phase] * batches / few for phase in wanted))
    work.disk_bytes = disk_bytes
    return work.estimate(0)


def seconds_left_out(
    network: nn.Module, quantized: nn.Module, batches: Sequence[Structure], done: int, *, bits: BitsLike = 4,
    digital: Collection[str] = (), learned_rounding: bool = False,
) -> float:  # fmt: skip
    """Return the seconds that the quantization of a float network by `batches` of inputs `[images, ...]` takes besides
    those of the `quantized` one, by `done` of these inputs without learned rounding; less those of measuring it.

    All inputs pass through both networks once, and twice more for learned rounding, besides its steps.
    """
    started = time.monotonic()
    some, inputs = taken(batches[0], slice(TIMED_INPUTS)), sum(map(count_of, batches))
    each = sum(timed(partial(moments_of, one, some))[0] for one in (network, quantized)) / count_of(some)
    found = each * (inputs - done)
    if learned_rounding:
        seen = observe(network, InputBatches([some]), digital)
        copy = seen.quantized(seen.widths(bits))
        one, more = (
            timed(partial(learn_rounding, copy, seen.network, [some], steps=steps))[0] for steps in (1, 1 + TIMED_STEPS)
        )
        # The distance is measured before the steps and after them.
        found += STEPS * max(more - one, 0.0) / TIMED_STEPS + 2 * each * inputs
    return found - (time.monotonic() - started)
