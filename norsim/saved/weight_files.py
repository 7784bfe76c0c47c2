"""Tensors from files of float weights, recognized by their content and read without executing code."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from norsim.errors import DataError

# The first bytes of files that are no weights, or not yet, and what to do.
OTHERS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; fetch it with git lfs pull",
    b"/annex/objects/": "is a pointer of git-annex, not the file itself; fetch it with git annex get",
    b"\x1f\x8b": "is compressed with gzip; unpack it first",
    b"\x89HDF": "is an HDF5 file; save the state dict with torch.save or safetensors",
    b"<": "is a web page or other text with markup; download the file that it is about",
    b"bzh": "is compressed with bzip2; unpack it first",
    b"\xfd7zXZ": "is compressed with xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it first",
}
HEADER_BYTES = 8


def read_weights(path: Path) -> Any:
    """Return what a safetensors file or a `torch.save` file holds, whatever its name; no code in it is executed.

    Raises DataError, with what the file is instead, for any other file.
    """
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from None
    if not content.strip():
        raise DataError(f"{path} is empty")
    if _is_safetensors(content):
        try:
            return load(content)
        except (SafetensorError, ValueError, KeyError, AttributeError) as problem:
            raise DataError(f"{path} is not a complete safetensors file: {problem}") from None
    begins = content[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, what in OTHERS.items():
        if begins.startswith(start.lower()):
            raise DataError(f"{path} {what}")
    if b"/annex/objects/" in begins and len(content) < 512:
        raise DataError(f"{path} {OTHERS[b'/annex/objects/']}")
    if begins.startswith(b"{"):
        raise DataError(f"{path} {_about_json(content)}")
    return _from_torch(path, content)


def _is_safetensors(content: bytes) -> bool:
    """Return whether content starts with the length of a JSON header and a `{`."""
    length = int.from_bytes(content[:HEADER_BYTES], "little")
    return content[HEADER_BYTES : HEADER_BYTES + 1] == b"{" and 2 <= length < 2**27


def _about_json(content: bytes) -> str:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return "is text; expected a safetensors file or a torch.save file"
    if isinstance(found, dict) and isinstance(found.get("weight_map"), dict):
        files = sorted({str(file) for file in found["weight_map"].values()})
        return f"is the index of {len(files)} files, such as {files[0]!r}; save their entries as one state dict"
    return "is JSON; expected a safetensors file or a torch.save file"


def _from_torch(path: Path, content: bytes) -> Any:
    names: list[str] = []
    if content[:2] == b"PK":
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError):
            raise DataError(f"{path} is a damaged or incomplete torch.save file") from None
        if any(name.endswith(".npy") for name in names):
            raise DataError(f"{path} is a NumPy archive; save the state dict with torch.save or safetensors")
        if any("/code/" in name for name in names):
            raise DataError(f"{path} is a scripted network (TorchScript); save the state dict of the network instead")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as problem:  # torch raises anything on a damaged file
        # Without torch's message, which recommends a load that may execute the file.
        if "Unsupported " in str(problem) and ("global" in str(problem) or "class" in str(problem)):
            named = re.search(r"GLOBAL ([\w.]+)", str(problem))
            raise DataError(
                f"{path} holds Python objects{f' ({named[1]})' if named else ', such as a whole network'}, which only "
                "code can read; save network.state_dict() alone instead"
            ) from None
        raise DataError(
            f"{path} holds no tensors that can be read safely ({type(problem).__name__}): expected a safetensors file "
            "or a torch.save file of a state dict"
        ) from None
