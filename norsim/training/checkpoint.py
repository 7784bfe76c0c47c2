"""Checkpoints of a training, from which a killed run resumes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from norsim.files import write_atomically
from norsim.folders.output import OutputFolder

CHECKPOINT, LOG = "checkpoint.pt", "log.csv"


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` as `torch.save` does, atomically. Raises WriteError if the disk fails."""
    # In memory first, because torch.save hides the cause of a disk error.
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_atomically(path, lambda file: file.write(content.getbuffer()))


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
