"""Gradients by a recording: the same bits as operation by operation, with a stand-in for CUDA graphs on a CPU.

It records the operations of torch, and does them again on the same tensors. As on a card, an operation that needs a
number in the host's memory cannot be recorded, recording changes nothing, and replays see only the recorded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from norsim.quantization import modules
from norsim.quantization.fake_quantize import elementwise
from norsim.quantization.quantize import replace_layers
from norsim.training import learner
from norsim.training.batches import Batches
from norsim.training.gradients import WARM_UP, Recorded
from norsim.training.recipes import AUGMENTATIONS, Recipe
from norsim.training.train import train
from tests.training.test_train import SPEC, TINY, dataset, state_bytes

WAITING = {"_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero"}


class Waits(Exception):
    """The operation would wait for the card."""


def tensors(*values: Any) -> list[Tensor]:
    return [part for part in tree_leaves(values) if isinstance(part, Tensor)]


class Recording(TorchDispatchMode):
    """Records each operation with its tensors, and what it changed."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.changed: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        if function.overloadpacket.__name__ in WAITING:
            raise Waits(str(function))
        inputs = tensors(given, named)
        before = [part.clone() for part in inputs]
        found = function(*given, **(named or {}))
        self.changed += [(now, was) for now, was in zip(inputs, before, strict=True) if not torch.equal(now, was)]
        self.operations.append((function, given, named or {}, found))
        return found

    def undo(self) -> None:
        """Take back all changes."""
        for now, was in reversed(self.changed):
            now.copy_(was)


class Graph:
    """In place of torch.cuda.CUDAGraph."""

    made: ClassVar[list[Graph]] = []

    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0
        Graph.made.append(self)

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for function, given, named, found in self.operations:
            again = function(*given, **named)
            for old, new in zip(tensors(found), tensors(again), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Stream:
    """In place of torch.cuda.Stream."""

    def __init__(self, device: Any = None) -> None:
        pass

    def wait_stream(self, other: Any) -> None:
        pass


@contextmanager
def recorded(graph: Graph, stream: Any = None) -> Iterator[None]:
    """In place of torch.cuda.graph."""
    state = torch.get_rng_state()
    with Recording() as recording:
        yield
    with torch.no_grad():
        recording.undo()
    torch.set_rng_state(state)
    graph.operations = recording.operations


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Let a CPU record as a card does; return the list of graphs that are made."""
    Graph.made = []
    new = {"CUDAGraph": Graph, "graph": recorded, "Stream": Stream, "stream": nullcontext, "current_stream": Stream}
    for name, value in {**new, "synchronize": lambda device: None}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(learner, "gradients_of", lambda network, loss_of, device: Recorded(network, loss_of))
    return Graph.made


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_recorded_training_ends_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, precision: Any
) -> None:
    """In float and with learned quantizers, a teacher, batch norms, dropout and a moving average."""
    recipe = replace(TINY, precision=precision)
    # As off a CPU.
    monkeypatch.setattr(modules, "fake_quantize", elementwise)
    plain = train(SPEC, dataset("train"), dataset("test"), recipe, tmp_path / "plain")
    graphs = request.getfixturevalue("graphs")
    found = train(SPEC, dataset("train"), dataset("test"), recipe, tmp_path / "recorded")
    assert [graph.replays for graph in graphs] == [8 - WARM_UP] * 2 and len(graphs[1].operations) > 50
    assert state_bytes(found.network) == state_bytes(plain.network)
    assert state_bytes(found.float_network) == state_bytes(plain.float_network)
    assert [row.train_loss for row in found.records] == [row.train_loss for row in plain.records]


def test_a_network_that_waits_for_the_card_cannot_be_recorded(graphs: list[Graph]) -> None:
    class Waiting(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * float(input.max())

    one = learner.Learner(Waiting(4, 2), Recipe(1, 0, 4, 0.1, 0.1))
    with pytest.raises(Waits):
        for _ in range(WARM_UP + 1):
            one.learn(torch.rand(4, 4), torch.tensor([0, 1, 0, 1]), 0.1)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_no_batch_waits_for_the_card(kind: Any) -> None:
    recipe = replace(TINY, augmentation=kind)
    pixels, labels = (torch.from_numpy(part) for part in (dataset("train").images, dataset("train").labels))
    epoch = Batches(pixels, labels, 255, recipe, torch.contiguous_format, torch.device("cpu")).epoch(0)
    next(epoch)
    with Recording() as recording:
        assert sum(len(images) for images, _ in epoch) == 3 * 16
    assert recording.operations


def test_an_epoch_stays_on_its_device_until_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the device `meta` have no values, so nothing can be fetched, and cannot meet those of a CPU."""
    meta, recipe = torch.device("meta"), replace(TINY, augmentation="crop-flip-cutout")
    groups = lambda network, decay: [{"params": list(network.parameters()), "boost": 1.0}]  # noqa: E731
    monkeypatch.setattr(learner, "parameter_groups", groups)
    network, teacher = replace_layers(SPEC.build()).to(meta), SPEC.build().to(meta).eval()
    one = learner.Learner(network, recipe, meta, teacher)
    monkeypatch.setattr(one, "precision", nullcontext)
    pixels, labels = (torch.from_numpy(part) for part in (dataset("train").images, dataset("train").labels))
    batches, told = Batches(pixels, labels, 255, recipe, torch.channels_last, meta), list[int]()
    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
        one.epoch(batches.epoch(0), 8, 0.1, told.append)
    assert told == [0, 1, 2, 3] and one.step == 4
