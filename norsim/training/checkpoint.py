"""Checkpoints of a training, from which a killed run resumes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from norsim.errors import ConfigurationError
from norsim.files import write_atomically
from norsim.folders.output import OutputFolder
from norsim.quantization.forward import device_name

CHECKPOINT, LOG = "checkpoint.pt", "log.csv"


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` as `torch.save` does, atomically. Raises WriteError if the disk fails."""
    # In memory first, because torch.save hides the cause of a disk error.
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_atomically(path, lambda file: file.write(content.getbuffer()))


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's random numbers, in memory and on `device`, for `set_random_state`: uint8 `[n]`."""
    found = {"random": torch.get_rng_state()}
    return found | {"device_random": torch.cuda.get_rng_state(device)} if device.type == "cuda" else found


def set_random_state(saved: Mapping[str, Any], device: torch.device) -> None:
    """Set the state of torch's random numbers from a checkpoint of the same device."""
    torch.set_rng_state(saved["random"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(saved["device_random"], device)


def check_device(path: Path, saved: Mapping[str, Any], device: torch.device) -> None:
    """Raise ConfigurationError for the checkpoint at `path`, with content `saved`, of another device."""
    # Checkpoints of earlier versions name none.
    was, now = saved.get("device", "cpu"), device_name(device)
    if was != now:
        raise ConfigurationError(
            f"the device is {now}, but {path} was computed on {was}, whose sums differ in their last bits; continue it "
            "there, or start again"
        )


@contextmanager
def checkpoint_folder(folder: Path | str | OutputFolder | None, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Yield the folder of a fine-tuning's checkpoints, locked meanwhile; a temporary one for None.

    Raises ConfigurationError for a folder with other content, WriteError if it cannot be written.
    """
    if folder is None:
        with TemporaryDirectory() as temporary:
            yield Path(temporary)
    elif isinstance(folder, OutputFolder):
        yield folder.path
    else:
        with OutputFolder(Path(folder), "net.finetune", overwrite, resume) as output:
            output.sweep()
            output.clear(lambda name: not resume)
            yield output.path
