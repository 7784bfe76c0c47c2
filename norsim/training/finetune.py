"""Fine-tuning through the circuit: a quantized network learns to live with the array that it runs on.

Every few steps the tiles are programmed anew with the weights as they are by then, as another chip of the kind, so that
what is drawn for a chip is drawn again; between, norsim.training.through_array follows the weights to first order.
Scales and zero points stay; weights, biases and the folded batch norms' gains and shifts are trained. The digital
network that it started from is the teacher (Hinton et al., "Distilling the knowledge in a neural network", 2015).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.chip.model import Chip
from norsim.data import Dataset
from norsim.data.tensors import images_tensor
from norsim.errors import ConfigurationError, DataError
from norsim.random_streams import Stream, generator
from norsim.quantization.modules import positive, quantized_operands
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert
from norsim.training.checkpoint import CHECKPOINT, prepare_folder, write_checkpoint
from norsim.training.through_array import through_circuit
from norsim.training.train import augment, to_input


@dataclass(frozen=True)
class Tuning:
    """`steps` of `batch_size` images each, tiles programmed anew every `refresh` of them.

    `rate`          Adam's learning rate of weights, in steps of their codes, falling to 0 along a cosine; a gain, shift
                    or bias moves by a tenth of that share of its layer's mean
    `distillation`  the share of the loss that follows the teacher at `temperature`
    """

    steps: int = 100
    refresh: int = 10
    batch_size: int = 64
    rate: float = 0.01
    distillation: float = 0.5
    temperature: float = 2.0
    augmentation: str = "none"
    seed: int = 0


def fine_tune(
    network: nn.Module,
    chip: Chip,
    train_set: Dataset,
    tuning: Tuning,
    folder: Path,
    resume: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
) -> nn.Module:
    """A tuned copy of a quantized `network`, in eval mode; `progress(steps done, steps, mean loss)` after each refresh.

    `folder` gets `checkpoint.pt` after each refresh; with `resume` the run goes on from there to the same bits. Raises
    ConfigurationError where the checkpoint is of another run or the loss is no number, DataError for a broken one.
    """
    prepare_folder(folder)
    student, teacher = copy.deepcopy(network).eval(), network.eval()
    optimiser = torch.optim.Adam(_groups(student, tuning.rate), betas=(0.9, 0.99))
    shares = [group["lr"] for group in optimiser.param_groups]
    done = _load(folder / CHECKPOINT, student, optimiser, chip, tuning) if resume else 0
    pixels, labels = torch.from_numpy(train_set.images), torch.from_numpy(train_set.labels)
    for first in range(done, tuning.steps, tuning.refresh):
        last = min(first + tuning.refresh, tuning.steps)
        number = first // tuning.refresh
        analog = _programmed(student, chip, train_set, tuning, number)
        generator = torch.Generator().manual_seed(tuning.seed * 1_000_003 + number)
        losses = []
        with through_circuit(student, analog, generator(tuning.seed, Stream.FINE_TUNING_NOISE, number)):
            for step in range(first, last):
                chosen = torch.randint(len(labels), (min(tuning.batch_size, len(labels)),), generator=generator)
                mirrored = torch.rand(len(chosen), generator=generator) < 0.5
                images = to_input(
                    augment(pixels[chosen], mirrored, tuning.augmentation, generator), train_set.full_scale
                )
                loss = _loss(student, teacher, images, labels[chosen], tuning)
                if not torch.isfinite(loss):
                    raise ConfigurationError(f"the loss is {float(loss)} at step {step}: lower --rate")
                for group, share in zip(optimiser.param_groups, shares, strict=True):
                    group["lr"] = share * 0.5 * (1 + math.cos(math.pi * step / tuning.steps))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                losses.append(float(loss.detach()))
        _save(folder / CHECKPOINT, student, optimiser, chip, tuning, last)
        if progress:
            progress(last, tuning.steps, float(np.mean(losses)))
    return student


def _programmed(student: nn.Module, chip: Chip, train_set: Dataset, tuning: Tuning, number: int) -> nn.Module:
    """The student on another chip of the kind, calibrated."""
    analog = convert(student, chip.specimen(tuning.seed, number))
    random = generator(tuning.seed, Stream.CALIBRATION_IMAGES)
    images = images_tensor(train_set.take(min(chip.calibration.images, len(train_set)), random))
    calibrate(analog, images, seed=tuning.seed)
    return analog


def _groups(student: nn.Module, rate: float) -> list[dict[str, Any]]:
    """What is trained, each with its rate; all else is frozen."""
    for parameter in student.parameters():
        parameter.requires_grad_(False)
    groups: list[dict[str, Any]] = []
    layers = quantized_operands(student)
    for layer in layers.values():
        groups.append({"params": [layer.weight], "lr": rate * float(positive(layer.weight_scale).mean())})
    kinds = (*(type(layer) for layer in layers.values()), nn.BatchNorm2d)
    for part in student.modules():
        for name in ("weight", "bias"):
            vector = part._parameters.get(name) if isinstance(part, kinds) else None
            if vector is not None and vector.ndim == 1:
                groups.append({"params": [vector], "lr": 0.1 * rate * float(vector.abs().mean() + 1e-6)})
    for group in groups:
        group["params"][0].requires_grad_(True)
    return groups


def _loss(student: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor, tuning: Tuning) -> Tensor:
    logits = student(images)
    loss = functional.cross_entropy(logits, labels)
    with torch.no_grad():
        target = functional.log_softmax(teacher(images) / tuning.temperature, 1)
    ours = functional.log_softmax(logits / tuning.temperature, 1)
    distance = functional.kl_div(ours, target, reduction="batchmean", log_target=True)
    return (1 - tuning.distillation) * loss + tuning.distillation * tuning.temperature**2 * distance


def _save(
    path: Path, student: nn.Module, optimiser: torch.optim.Optimizer, chip: Chip, tuning: Tuning, done: int
) -> None:  # fmt: skip
    state = {
        "identity": repr((chip, asdict(tuning))), "done": done, "student": student.state_dict(),
        "optimiser": optimiser.state_dict(),
    }  # fmt: skip
    write_checkpoint(path, state)


def _load(path: Path, student: nn.Module, optimiser: torch.optim.Optimizer, chip: Chip, tuning: Tuning) -> int:
    """Put a checkpoint's state in place; gives the steps that are done, 0 where there is none."""
    if not path.exists():
        return 0
    try:
        saved = torch.load(path, weights_only=True)
        same = saved["identity"] == repr((chip, asdict(tuning)))
        if same:
            student.load_state_dict(saved["student"])
            optimiser.load_state_dict(saved["optimiser"])
        done = int(saved["done"])
    except Exception as problem:  # whatever a damaged file makes torch raise
        raise DataError(f"{path} cannot be read ({type(problem).__name__}); delete it and tune anew") from problem
    if not same:
        raise ConfigurationError(f"{path} belongs to another chip or other settings; tune into another folder or anew")
    return done
