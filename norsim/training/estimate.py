"""Time and memory of a training, estimated from a few batches."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from norsim.data import Dataset
from norsim.evaluation.estimate import (
    Estimate,
    Work,
)
from norsim.training.learner import CPU
from norsim.training.recipes import Recipe
from norsim.training.train import train
from norsim.zoo.registry import NetworkSpec


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


TRAINED_BATCHES = 8
