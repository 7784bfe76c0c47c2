"""What a search of bits has computed, in the folder of its run, so that an interrupted one does not start again.

Each quantized network answers once: with the loss that tells how sensitive it is, or with its classes. An answer is a
unit of work (norsim.jobs.unit_store), by the bits of all layers and what else determines it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import Tensor

from norsim.data.inputs.structure import Structure
from norsim.data.tensors import digest_of, identity_of
from norsim.jobs.unit_store import UnitStore, arithmetic, unit_key
from norsim.quantization.by_layer.bits import Bits
from norsim.quantization.quantize import Observed
from norsim.zoo.attributes import described


@dataclass(frozen=True)
class KeptAnswers:
    """Answers of quantized forms of one network: kept ones, or new ones that are then kept.

    `store`   where they are; None keeps nothing
    `about`   what determines them besides the bits, as texts
    """

    store: UnitStore | None = None
    about: tuple[str, ...] = ()

    @classmethod
    def of(cls, seen: Observed, exact: Tensor, store: UnitStore | None) -> KeptAnswers:
        """Return the answers of forms of the network that was `seen`. Its own scores `[images, classes]` are `exact`:
        they tell networks apart whose user-supplied code differs."""
        if store is None:
            return cls()
        machine = *arithmetic(), str(torch.get_num_threads())
        inputs = [str(part) for batch in seen.batches for part in identity_of(batch)]
        samples = digest_of(seen.samples.values())
        return cls(store, (*machine, *described(seen.network), *seen.digital, *inputs, samples, digest_of([exact])))

    def about_inputs(self, what: str, inputs: Structure) -> KeptAnswers:
        """Return the answers to other `inputs` `[images, ...]`, which are for `what`."""
        if self.store is None:
            return self
        return KeptAnswers(self.store, (*self.about, what, *map(str, identity_of(inputs))))

    def once(self, bits: Mapping[str, Bits], compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the answer `[n]` of the network with these bits of each layer; `compute` finds one that is new."""
        if self.store is None:
            return compute()
        key = unit_key("bits", *self.about, *(f"{name}={one}" for name, one in sorted(bits.items())))
        kept = self.store.get(key)
        if kept is not None:
            return np.asarray(kept["answer"].to_numpy())
        found = compute()
        self.store.put(key, pa.table({"answer": found}))
        return found
