"""Fine-tuning through the circuit: a quantized network adapts to the array that it runs on.

Every few steps the tiles are programmed again with the current weights, as another chip of the same design with its
own random draws, which no evaluation uses; in between, norsim.training.through_array follows the weights to first
order. Scales and zero points are fixed; weights, biases and the gains and shifts of folded batch norms are trained. The
teacher is the digital network before tuning (Hinton et al., "Distilling the knowledge in a neural network", 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.chip.model import Chip
from norsim.data import Dataset
from norsim.data.batches import Data, InputBatches, batches_of
from norsim.data.inputs.structure import Structure, count_of, joined, mapped, split, taken, tensors_in
from norsim.data.tensors import BATCH, digest_of, images_tensor
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.metrics import labels_of, scores_of
from norsim.files import make_folder
from norsim.jobs.phases import Report, silent
from norsim.quantization.copies import independent_copy
from norsim.quantization.forward import device_name, device_of, forward
from norsim.quantization.modules import positive, quantized_operands
from norsim.random_streams import Stream, generator
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert, program
from norsim.tiling.read_noise import ReadNoise
from norsim.training.checkpoint import CHECKPOINT, check_device, write_checkpoint
from norsim.training.images import augment, draw_moves, to_input
from norsim.training.through_array import through_circuit
from norsim.training.tuning import Tuning


@dataclass(frozen=True, eq=False)
class Examples:
    """What is learned from: `inputs` `[examples, ...]`, a tensor or several in a tuple or dict, on the device that
    computes, with labels `targets` `[examples]`, in memory; bytes count in `full_scale`.

    `source` is the data set that they are of, whose images can be shifted and mirrored; None for other data.
    """

    inputs: Structure
    targets: Tensor
    full_scale: int
    source: Dataset | None

    def calibration(self, count: int, random: np.random.Generator) -> Structure:
        """Up to `count` of the inputs `[examples, ...]`, drawn at random, in their order."""
        available = len(self.targets)
        count = min(count, available)
        if self.source is not None:
            return images_tensor(self.source.take(count, random))
        return taken(self.inputs, torch.from_numpy(np.sort(random.choice(available, count, replace=False))))

    def batch(self, chosen: Tensor, augmentation: str, random: torch.Generator) -> Structure:
        """The inputs `[batch, ...]` with those numbers, augmented."""
        mirrored = torch.rand(len(chosen), generator=random) < 0.5
        device = next(tensors_in(self.inputs)).device
        inputs = taken(self.inputs, chosen.to(device))
        if self.source is None:
            return inputs
        moves = draw_moves(len(chosen), inputs.shape[2:], augmentation, random)
        return to_input(augment(inputs, mirrored.to(device), moves.to(device), augmentation), self.full_scale)


def examples_of(data: Data, augmentation: str, device: torch.device) -> Examples:
    """Data of any kind that `norsim.deploy` takes, with labels, on `device`. Raises ConfigurationError for an
    augmentation of other data than a norsim data set, DataError for other targets than labels."""
    if isinstance(data, Dataset):
        pixels = torch.from_numpy(data.images).to(device)
        return Examples(pixels, torch.from_numpy(data.labels), data.full_scale, data)
    if augmentation != "none":
        raise ConfigurationError(f"augmentation {augmentation!r} needs a norsim data set, whose pixels are bytes")
    batches = [(inputs, labels_of(targets, count_of(inputs))) for inputs, targets in batches_of(data)]
    inputs, labels = joined([some for some, _ in batches]), joined([some for _, some in batches])
    return Examples(mapped(inputs, lambda part: part.to(device)), torch.from_numpy(labels), 1, None)


def fine_tune(
    network: nn.Module,
    chip: Chip,
    data: Data,
    tuning: Tuning,
    folder: Path,
    resume: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
    digital: Collection[str] = (),
    report: Report = silent,
) -> nn.Module:
    """Return a tuned copy of a quantized `network`, in eval mode, on its device, which computes; `progress(steps done,
    steps, mean loss)` after each refresh, `report(what, done, total)` all the time.

    The layers named in `digital` are trained as integers, without an array. `folder` gets `checkpoint.pt` after each
    refresh; with `resume` the run goes on from there to the same bits. Raises ConfigurationError where the checkpoint
    is of another run or device, the loss is not finite, or outputs are not class scores, DataError for a broken
    checkpoint and for targets that are not labels.
    """
    make_folder(folder)
    device = device_of(network)
    student, teacher = (independent_copy(network) for _ in range(2))
    examples = examples_of(data, tuning.augmentation, device)
    optimiser = torch.optim.Adam(_groups(student, tuning.rate), betas=(0.9, 0.99))
    shares = [group["lr"] for group in optimiser.param_groups]
    learned = digest_of([*student.state_dict().values(), *tensors_in(examples.inputs), examples.targets])
    identity = repr((chip, asdict(tuning), *digital, str(student), learned))
    done = _load(folder / CHECKPOINT, student, optimiser, identity) if resume else 0
    for first in range(done, tuning.steps, tuning.refresh):
        last = min(first + tuning.refresh, tuning.steps)
        number = first // tuning.refresh
        analog = _programmed(student, chip, examples, tuning, number, digital, report)
        random = torch.Generator().manual_seed(tuning.seed * 1_000_003 + number)
        losses = []
        with through_circuit(student, analog, ReadNoise(tuning.seed, Stream.FINE_TUNING_NOISE)):
            for step in range(first, last):
                report("train steps", step, tuning.steps)
                count = len(examples.targets)
                chosen = torch.randint(count, (min(tuning.batch_size, count),), generator=random)
                inputs = examples.batch(chosen, tuning.augmentation, random)
                loss = _loss(student, teacher, inputs, examples.targets[chosen], tuning)
                # The host may wait for the device here: reading the array waits for it anyway.
                if not torch.isfinite(loss):
                    raise ConfigurationError(f"the loss is {float(loss)} at step {step}: lower the learning rate")
                for group, share in zip(optimiser.param_groups, shares, strict=True):
                    group["lr"] = share * 0.5 * (1 + math.cos(math.pi * step / tuning.steps))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                losses.append(float(loss.detach()))
        _save(folder / CHECKPOINT, student, optimiser, identity, last)
        if progress:
            progress(last, tuning.steps, float(np.mean(losses)))
    return student


def training_chip(chip: Chip, seed: int, number: int) -> Chip:
    """Return chip `number` of those that fine-tuning draws from `seed`.

    The seed of each is a random number of 63 bits, so that none is among the chips that an evaluation draws from a
    user's seed: to tune a network on the chip it is then evaluated on would overstate what tuning gains.
    """
    drawn = generator(seed, Stream.FINE_TUNING_CHIPS, number).integers(1 << 62, 1 << 63, dtype=np.uint64)
    return chip.specimen(int(drawn), number)


def _programmed(
    student: nn.Module, chip: Chip, examples: Examples, tuning: Tuning, number: int, digital: Collection[str],
    report: Report,
) -> nn.Module:  # fmt: skip
    """The student on another chip of the design, calibrated."""
    analog = convert(
        student, training_chip(chip, tuning.seed, number), {name: {"backend": "ideal"} for name in digital}
    )
    inputs = examples.calibration(chip.calibration.images, generator(tuning.seed, Stream.CALIBRATION_IMAGES))
    program(analog, report=report)
    calibrate(analog, InputBatches(list(split(inputs, BATCH))), seed=tuning.seed, report=report)
    return analog


def _groups(student: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Freeze all other parameters and return the trained ones with their rates."""
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


def _loss(student: nn.Module, teacher: nn.Module, images: Structure, labels: Tensor, tuning: Tuning) -> Tensor:
    logits = scores_of(forward(student, images))
    if int(labels.min()) < 0 or int(labels.max()) >= logits.shape[1]:
        raise DataError(
            f"labels go from {int(labels.min())} to {int(labels.max())}; expected 0 to {logits.shape[1] - 1}, one for "
            "each score of the network"
        )
    loss = functional.cross_entropy(logits, labels.to(logits.device))
    with torch.no_grad():
        target = functional.log_softmax(scores_of(forward(teacher, images)) / tuning.temperature, 1)
    ours = functional.log_softmax(logits / tuning.temperature, 1)
    distance = functional.kl_div(ours, target, reduction="batchmean", log_target=True)
    return (1 - tuning.distillation) * loss + tuning.distillation * tuning.temperature**2 * distance


def _save(path: Path, student: nn.Module, optimiser: torch.optim.Optimizer, identity: str, done: int) -> None:
    state = {
        "identity": identity, "done": done, "student": student.state_dict(), "optimiser": optimiser.state_dict(),
        "device": device_name(device_of(student)),
    }  # fmt: skip
    write_checkpoint(path, state)


def _load(path: Path, student: nn.Module, optimiser: torch.optim.Optimizer, identity: str) -> int:
    """Restore a checkpoint and return its number of finished steps, 0 if there is none."""
    if not path.exists():
        return 0
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        same = saved["identity"] == identity
        if same:
            student.load_state_dict(saved["student"])
            optimiser.load_state_dict(saved["optimiser"])
        done = int(saved["done"])
    except Exception as problem:  # torch raises anything on a damaged file
        raise DataError(f"{path} cannot be read ({type(problem).__name__}); delete it and start again") from problem
    check_device(path, saved, device_of(student))
    if not same:
        raise ConfigurationError(
            f"{path} is of another network, chip or data, or of other settings; choose another folder or start again"
        )
    return done
