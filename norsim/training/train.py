"""Training: float phase, post-training quantization, quantization-aware phase.

The test set selects nothing: the result is the last weights (or their moving average). A run writes a checkpoint after
each epoch; a killed and resumed run on a CPU ends in the same bits as an uninterrupted one on the same machine with the
same number of threads.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from norsim.data import Dataset, Samples
from norsim.data.batches import inputs_of
from norsim.data.inputs.structure import tensors_in
from norsim.data.tensors import images_tensor, tensors_of
from norsim.errors import ConfigurationError, DataError, first_line
from norsim.evaluation.metrics import classes_of, labels_of
from norsim.files import make_folder, write_text
from norsim.jobs.phases import Report, silent
from norsim.quantization.forward import device_name, forward
from norsim.quantization.quantize import layer_bits, quantize
from norsim.training.batches import Batches
from norsim.training.checkpoint import CHECKPOINT, LOG, check_device, random_state, set_random_state, write_checkpoint
from norsim.training.fit import check_fit
from norsim.training.learner import CPU, Learner
from norsim.training.recipes import Recipe
from norsim.zoo.registry import NetworkSpec

EVALUATION_BATCH, EVALUATION_BYTES = 500, 2**25


@dataclass(frozen=True)
class EpochRecord:
    """One line of `log.csv`: epoch of its phase from 1, last learning rate, mean loss, test accuracy 0..1."""

    epoch: int
    phase: str
    learning_rate: float
    train_loss: float
    test_accuracy: float
    seconds: float


@dataclass(frozen=True, eq=False)
class TrainResult:
    """The result of a training; `float_predictions` are the float network's classes `[test images]`, int64, None where
    the test data have no classes."""

    spec: NetworkSpec
    recipe: Recipe
    network: nn.Module
    float_network: nn.Module
    float_predictions: NDArray[np.int64] | None
    test_set: Dataset | Samples
    records: tuple[EpochRecord, ...]


def train(
    spec: NetworkSpec,
    train_set: Dataset,
    test_set: Dataset,
    recipe: Recipe,
    folder: Path,
    resume: bool = False,
    progress: Callable[[EpochRecord], None] | None = None,
    start: Mapping[str, Tensor] | None = None,
    report: Report = silent,
    device: torch.device = CPU,
) -> TrainResult:
    """Train `spec` by `recipe`; write `checkpoint.pt` and `log.csv` to `folder` after each epoch, if there is any.

    The float phase starts from the state dict `start`, whose entries have the network's shapes, such as
    `[outputs, inputs]`, or from random weights. With `resume` it continues from the checkpoint in `folder`, if there is
    one. Raises ConfigurationError if the checkpoint belongs to another training, the loss is not finite or images do
    not fit the network, DataError for a checkpoint that cannot be read. The caller's random state does not change.
    `progress` gets the record of each epoch; `report(what, done, total)` counts batches and images. On `device`, which
    has the networks of the result too, all devices see the same images in the same order; a checkpoint is continued
    only on its own.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        run = _Run(spec, train_set, test_set, recipe, folder, resume, progress, start, report, device)
        float_network = run.float_phase()
        seen = run.batches.observed()
        quantized = quantize(
            float_network, seen, bits=recipe.bits, digital=spec.digital, activation_range=recipe.activation_range,
            learned_rounding=recipe.learned_rounding, report=report,
        )  # fmt: skip
        network = run.phase("quantized", quantized, recipe.quantized_epochs, recipe.quantized_rate, float_network)
    predictions = predict(float_network, test_set, partial(report, "classify float"))
    return TrainResult(spec, recipe, network, float_network, predictions, test_set, tuple(run.records))


@torch.no_grad()
def predict(
    network: nn.Module, data: Dataset | Samples, progress: Callable[[int, int], None] = lambda done, total: None
) -> NDArray[np.int64]:
    """Return the class that `network` in eval mode assigns to each image of `data`, int64 `[images]`."""
    network.eval()
    found: list[NDArray[np.int64]] = []
    progress(0, len(data))
    for inputs in inputs_of(data, batch_of(data)):
        found.append(classes_of(forward(network, inputs)))
        progress(sum(map(len, found)), len(data))
    return np.concatenate(found)


def batch_of(data: Dataset | Samples) -> int:
    """Return how many images are classified at a time: EVALUATION_BATCH, or fewer large ones."""
    single = sum(part.numel() * part.element_size() for part in tensors_in(tensors_of(data.take(1))[0]))
    return max(1, min(EVALUATION_BATCH, EVALUATION_BYTES // max(single, 1)))


def labels_in(data: Dataset | Samples) -> NDArray[np.int64]:
    """Return the label of each image, `[images]`. Raises DataError for data without classes."""
    return data.labels if isinstance(data, Dataset) else labels_of(data.targets, len(data))


def _digest(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of weights, whatever the strides in which they are kept."""
    return hashlib.sha256(save({name: tensor.contiguous() for name, tensor in weights.items()})).hexdigest()


class _Run:
    """A training in its folder: data, random state, log and checkpoint."""

    def __init__(
        self,
        spec: NetworkSpec,
        train_set: Dataset,
        test_set: Dataset,
        recipe: Recipe,
        folder: Path,
        resume: bool,
        progress: Callable[[EpochRecord], None] | None,
        start: Mapping[str, Tensor] | None,
        report: Report,
        device: torch.device,
    ) -> None:
        self.start, self.report = start, report
        self.spec, self.recipe, self.folder, self.progress = spec, recipe, folder, progress
        self.train_set, self.test_set, self.device = train_set, test_set, device
        pixels, labels = torch.from_numpy(train_set.images), torch.from_numpy(train_set.labels)
        last = spec.channels_last and pixels.shape[1] > 1
        self.layout = torch.channels_last if last else torch.contiguous_format
        self.batches = Batches(pixels, labels, train_set.full_scale, recipe, self.layout, device)
        data = [train_set.source, len(train_set), test_set.source, len(test_set)]
        width: list[Any] = [] if spec.width == 1 else [spec.width]
        width += [] if spec.normalise is None else [asdict(spec.normalise)]
        width += [list(spec.digital)] if spec.digital else []
        origin = [] if start is None else [_digest(start)]
        self.identity = json.dumps([spec.name, asdict(recipe), data, *width, *origin])
        self.saved = self._load_checkpoint() if resume else {}
        with self._restoring():
            self.records = [EpochRecord(*row) for row in self.saved["records"]] if self.saved else []
        self.float_state: dict[str, Any] = {}

    def float_phase(self) -> nn.Module:
        """Return the trained float network, from the checkpoint if that is past this phase."""
        # Built in memory, so that its first weights are the same on every device.
        network: nn.Module = self.spec.build().to(self.device, memory_format=self.layout)  # type: ignore[call-overload]
        if self.saved.get("phase") == "quantized":
            with self._restoring():
                network.load_state_dict(self.saved["float"])
        else:
            if self.start is not None:
                network.load_state_dict(self.start)
            for data in (self.train_set, self.test_set):
                check_fit(network, data)
            # Patterns that do not fit are an error now, not after the float phase.
            first = images_tensor(self.train_set.take(min(2, len(self.train_set)))).to(self.device)
            layer_bits(network, self.recipe.bits, first, self.spec.digital)
            network = self.phase("float", network, self.recipe.float_epochs, self.recipe.float_rate)
        self.float_state = network.state_dict()
        return network.eval()

    def phase(
        self, name: str, network: nn.Module, epochs: int, peak: float, teacher: nn.Module | None = None
    ) -> nn.Module:
        """Train `network` for `epochs`, less those in the checkpoint; return the final network."""
        if not epochs:
            # Without an optimiser, with which torch imports its compiler.
            return network.eval()
        learner = Learner(network, self.recipe, self.device, teacher)
        make_folder(self.folder)
        first, count = 0, len(self.batches)
        if self.saved.get("phase") == name:
            with self._restoring():
                first = self.saved["epoch"]
                learner.restore(self.saved["learner"])
                self.batches.generator.set_state(self.saved["generator"])
                set_random_state(self.saved, self.device)
        for epoch in range(first, epochs):
            start = time.perf_counter()
            told = partial(self._tell, name, epoch, epochs * count)
            loss, rate = learner.epoch(self.batches.epoch(epoch), epochs * count, peak, told)
            if not math.isfinite(loss):
                raise ConfigurationError(f"{name} epoch {epoch + 1}: loss is {loss}; lower the learning rate")
            with learner.precision():
                accuracy = float((predict(learner.average, self.test_set) == self.test_set.labels).mean())
            record = EpochRecord(epoch + 1, name, rate, loss, accuracy, time.perf_counter() - start)
            self._save(record, learner)
        return learner.average.eval()

    def _tell(self, phase: str, epoch: int, total: int, done: int) -> None:
        self.report(f"train {phase}, epoch {epoch + 1}", epoch * len(self.batches) + done, total)

    def _save(self, record: EpochRecord, learner: Learner) -> None:
        self.records.append(record)
        state = {
            "identity": self.identity,
            "phase": record.phase,
            "epoch": record.epoch,
            "learner": learner.state(),
            "float": self.float_state,
            "records": [astuple(row) for row in self.records],
            "generator": self.batches.generator.get_state(),
            "device": device_name(self.device),
            **random_state(self.device),
        }
        write_checkpoint(self.folder / CHECKPOINT, state)
        self._write_log()
        if self.progress is not None:
            self.progress(record)

    def _write_log(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(field.name for field in fields(EpochRecord))
        writer.writerows(astuple(record) for record in self.records)
        write_text(self.folder / LOG, text.getvalue())

    @contextmanager
    def _restoring(self) -> Iterator[None]:
        """Raise DataError if the checkpoint lacks an entry, or has one that does not fit the network."""
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as problem:
            raise DataError(
                f"{self.folder / CHECKPOINT} is not a checkpoint of this version of norsim ({type(problem).__name__}: "
                f"{first_line(problem)}); delete it and start again"
            ) from problem

    def _load_checkpoint(self) -> dict[str, Any]:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return {}
        try:
            saved = torch.load(path, map_location=CPU, weights_only=True)
            identity = saved["identity"]
        except Exception as problem:  # torch raises anything on a damaged file
            # Without torch's message, which recommends a load that may execute the file.
            kind = type(problem).__name__
            raise DataError(f"{path} cannot be read ({kind}); delete it and start again") from problem
        check_device(path, saved, self.device)
        if identity != self.identity:
            raise ConfigurationError(
                f"{path} belongs to another network, recipe or data set; choose another folder or start again"
            )
        return dict(saved)
