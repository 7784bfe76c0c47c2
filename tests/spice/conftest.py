"""Raw files written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike


@pytest.fixture(scope="session")
def raw_bytes() -> Callable[..., bytes]:
    """Return the bytes of a binary raw file of `table` `[points, names]`; `header` replaces default values."""

    def write(names: Sequence[str], table: ArrayLike, **header: str) -> bytes:
        values = np.asarray(table, dtype="<f8")
        fields = {
            "Title": "* by hand",
            "Date": "Thu Jan  1 00:00:00  1970",
            "Plotname": "DC transfer characteristic",
            "Flags": "real",
            "No. Variables": str(len(names)),
            "No. Points": str(len(values)),
        }
        fields.update({key.replace("_", " "): value for key, value in header.items()})
        lines = [f"{key}: {value}" for key, value in fields.items()]
        vectors = [f"\t{k}\t{name}\tcurrent" for k, name in enumerate(names)]
        return "\n".join([*lines, "Variables:", *vectors, "Binary:", ""]).encode() + values.tobytes()

    return write
