"""Checkpoints of a training, from which a killed run resumes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from norsim.files import write_atomically

CHECKPOINT, LOG = "checkpoint.pt", "log.csv"


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` as `torch.save` does, atomically. Raises WriteError if the disk fails."""
    # In memory first, because torch.save hides the cause of a disk error.
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_atomically(path, lambda file: file.write(content.getbuffer()))
