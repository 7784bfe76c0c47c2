"""Workers, stored work and damaged files: errors end at once with their cause; what differs has its own key."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from norsim import child_processes, paths
from norsim.array.cell import Cell
from norsim.backends.ideal import Ideal
from norsim.chip.load import load_chip
from norsim.data import load
from norsim.errors import ConfigurationError, DataError, SimulatorError, SolveError, SolveTimeoutError, WriteError
from norsim.evaluation.batches import batch_key
from norsim.evaluation.proof.kept_reads import load_samples, save_samples
from norsim.evaluation.proof.sampling import Quota
from norsim.jobs.dask_cluster import LOST, Cluster, _reaching
from norsim.jobs.unit_store import DECISIVE, code_digest
from norsim.jobs.workers import HERE, Threads, Unit
from norsim.quantization.quantize import quantize
from norsim.saved.network_folder import load_network
from norsim.solver import characterisation_cache
from norsim.solver.characterize import Box
from norsim.spice.simulators.running import Program, own_folder, run
from norsim.tiling.convert import convert, fingerprint
from norsim.training.finetune import fine_tune
from norsim.training.tuning import Tuning
from norsim.user_code import call_code
from tests.solver.arrays import channel
from tools import quick_tests


@pytest.mark.parametrize("where", ["done", "a unit", "the units"])
def test_an_error_stops_running_simulators_at_once(tmp_path: Path, where: str) -> None:
    def work(place: int) -> int:
        if place == 1:
            return run(Program("sleep", ["sleep", "60"], os.environ), tmp_path, 90)[0]
        # The other unit may be stopped before this one looks.
        while where != "the units" and not child_processes.RUNNING:
            time.sleep(0.01)
        if where == "a unit":
            raise SimulatorError("no simulator")
        return place

    def units() -> Iterator[Unit]:
        yield from (Unit(place, f"unit {place}", (place,)) for place in range(2))
        if where == "the units":
            while not child_processes.RUNNING:
                time.sleep(0.01)
            raise DataError("no more images")

    def done(place: int, result: int) -> None:
        if where == "done":
            raise WriteError("the disk is full")

    begun = time.monotonic()
    with pytest.raises((SimulatorError, DataError, WriteError), match="no simulator|no more images|the disk is full"):
        Threads(2).run(work, units(), done)
    assert time.monotonic() - begun < 20 and not child_processes.RUNNING


@pytest.mark.parametrize("failures", [1, 2])
def test_no_folder_is_kept_that_no_error_names(
    folders: Callable[[], list[Path]], caplog: pytest.LogCaptureFixture, failures: int
) -> None:
    tried: list[int] = []

    def work(place: int) -> None:
        tried.append(place)
        with own_folder():
            if place == 1 and tried.count(1) <= failures:
                raise SolveError("no convergence")

    problem = None
    try:
        HERE.run(work, (Unit(place, f"unit {place}", (place,)) for place in range(3)), lambda place, result: None)
    except SolveError as caught:
        problem = caught
    assert caplog.messages == ["unit 1 failed and is tried again: no convergence"]
    if problem is None:
        assert failures == 1 and folders() == []
    else:
        (folder,) = folders()
        assert problem.kept == (str(folder),) and str(folder) in str(problem)


@pytest.mark.parametrize("workers", [HERE, Threads(2)])
@pytest.mark.parametrize(
    ("error", "calls", "text"),
    [(SolveTimeoutError, 1, "^unit 0 failed: too"), (SolveError, 2, "^unit 0 failed 2 times: too")],
)
def test_a_unit_that_took_too_long_is_not_tried_again(
    workers: Threads, error: type[SolveError], calls: int, text: str
) -> None:  # fmt: skip
    seen: list[int] = []

    def work(place: int) -> None:
        seen.append(place)
        raise error("too bad")

    with pytest.raises(SolveError, match=text):
        workers.run(work, [Unit(0, "unit 0", (0,))], lambda place, result: None)
    assert len(seen) == calls


@pytest.mark.parametrize(
    "problem", [RuntimeError("IOLoop is closed"), OSError("Stream is closed"), TimeoutError("late"), CancelledError()]
)
def test_a_lost_cluster_has_its_cause(problem: BaseException) -> None:
    with pytest.raises(SimulatorError) as found, _reaching():
        raise problem
    assert LOST in str(found.value) and type(problem).__name__ in str(found.value) and str(problem) in str(found.value)


@pytest.mark.parametrize(
    "problem",
    [RuntimeError("Pickling of 'generator' failed"), TypeError("Could not serialize object of type lock"),
     TypeError("cannot pickle '_thread.lock' object")],
)  # fmt: skip
def test_what_cannot_be_sent_is_no_lost_cluster(problem: BaseException) -> None:
    with pytest.raises(ConfigurationError, match="cannot be sent to the workers") as found, _reaching():
        raise problem
    assert str(problem) in str(found.value)


@pytest.mark.parametrize("value", [(number for number in range(3)), threading.Lock()])
def test_a_network_that_cannot_be_pickled_is_named_as_such(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be sent to the workers of a cluster .TypeError: "):
        Cluster(None).share(value)


@pytest.fixture(scope="module")
def analog() -> nn.Module:
    torch.manual_seed(0)
    return convert(
        quantize(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), [torch.rand(4, 1, 4, 4)]), load_chip("etox65")
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda value: torch.tensor([value, 2.0], dtype=torch.bfloat16),
        lambda value: torch.tensor([value, 2.0]).to_sparse(),
        lambda value: torch.tensor([[value, 2.0]]).to_sparse_csr(),
        lambda value: torch.tensor([value, 2.0]).to(torch.complex32),
        lambda value: torch.quantize_per_tensor(torch.tensor([value, 2.0]), 1.0, 0, torch.quint8),
        lambda value: torch.tensor(value > 1),
        lambda value: torch.as_strided(torch.tensor([value], dtype=torch.float64), (1,), (0,)),
        lambda value: torch.empty(0, int(value), dtype=torch.float64),
        lambda value: torch.tensor([value]).int() if value > 1 else torch.tensor([value]).int().view(torch.float32),
    ],
    ids=["bfloat16", "sparse", "csr", "half complex", "quantized", "scalar", "stride 0", "empty", "equal bytes"],
)
@pytest.mark.filterwarnings("ignore")
def test_every_kind_of_buffer_is_in_the_fingerprint(analog: nn.Module, make: Callable[[float], torch.Tensor]) -> None:
    found = set()
    for value in (1.0, 3.0):
        analog.register_buffer("extra", make(value), persistent=False)
        found |= {fingerprint(analog, Ideal()), fingerprint(analog, Ideal())}
        del analog.extra
    assert len(found) == 2


def test_extra_state_that_is_no_tensor_is_in_the_fingerprint(
    analog: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for number in range(2):
        monkeypatch.setattr(type(analog[1]), "get_extra_state", lambda self, n=number: {"version": n}, raising=False)
        found.add(fingerprint(analog, Ideal()))
    assert len(found) == 2


def test_versions_of_decisive_libraries_are_in_the_fingerprint(
    analog: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    found = {fingerprint(analog, Ideal())}
    for name in DECISIVE:
        monkeypatch.setattr("norsim.jobs.unit_store.version", lambda one, other=name: "0" if one == other else "1")
        found.add(fingerprint(analog, Ideal()))
    assert len(found) == 1 + len(DECISIVE) and {"numba", "scipy"} <= set(DECISIVE)


def test_the_processor_is_in_the_fingerprint(analog: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    here = fingerprint(analog, Ideal())
    monkeypatch.setattr("norsim.jobs.unit_store.processor", lambda: "another processor")
    assert fingerprint(analog, Ideal()) != here


def test_type_and_order_in_memory_are_in_the_key_of_a_batch() -> None:
    images = torch.arange(48, dtype=torch.float32).reshape(2, 3, 2, 4)
    alike = [
        images, images.view(torch.int32), images.contiguous(memory_format=torch.channels_last), images.bfloat16(),
        images.reshape(2, 3, 4, 2),
    ]  # fmt: skip

    def key(some: torch.Tensor) -> str:
        return batch_key("network", (0, 0), some, True, Quota(0, 0, 0), 0)

    assert len({key(some) for some in alike}) == len(alike)
    assert key(images) == key(images.clone())


def test_code_that_changes_under_a_running_process_is_not_the_code_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest()
    assert before == paths.sources_digest()
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"# upgraded\n")
    assert paths.sources_digest() != before and code_digest() == before


def table(cell: Cell) -> int:
    """Return how many sweeps a table of a cell takes."""
    characterisation_cache._table.cache_clear()
    calls: list[int] = []

    def sweep(*arguments: Any) -> Any:
        calls.append(1)
        return channel(*arguments)

    box = Box(-0.01, 0.51, 0.0, 0.02)
    characterisation_cache.table(cell, np.array([0.0, 5.0]), np.array([3.1, 4.4]), box, sweep, "a simulator")
    return len(calls)


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "norsim" / "cells"


def test_another_code_of_decks_or_solvers_makes_tables_anew(
    resistor_cell: Cell, cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    made_by = characterisation_cache.MADE_BY
    assert made_by[0] == paths.sources_digest("array", "solver", "spice") != paths.sources_digest("solver", "spice")
    assert table(resistor_cell) > 0 and table(resistor_cell) == 0
    for place in range(len(made_by)):
        other = tuple("another" if place == at else part for at, part in enumerate(made_by))
        monkeypatch.setattr(characterisation_cache, "MADE_BY", other)
        assert table(resistor_cell) > 0, place
    monkeypatch.setattr(characterisation_cache, "MADE_BY", made_by)
    assert table(replace(resistor_cell)) == 0


# In the line that describes the arrays, in their numbers, at the end; and a file that ends too soon.
@pytest.mark.parametrize("damage", [
    lambda content: b"x" + content[1:], lambda content: content.replace(b"[", b"]", 1),
    lambda content: content[:-200] + bytes([content[-200] ^ 1]) + content[-199:],
    lambda content: content[:-1] + bytes([content[-1] ^ 128]), lambda content: content[:-3], lambda content: b"",
])  # fmt: skip
def test_a_damaged_file_of_a_table_is_made_again(
    resistor_cell: Cell, cells: Path, damage: Callable[[bytes], bytes]
) -> None:
    table(resistor_cell)
    (path,) = (one for one in cells.iterdir() if one.is_file())
    path.write_bytes(damage(path.read_bytes()))
    assert table(resistor_cell) > 0 and table(resistor_cell) == 0


def test_damaged_reads_are_a_data_error_wherever_the_damage_is(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    with open(path, "wb") as file:
        save_samples([], 0, file)
    assert load_samples(path, {}) == ([], 0)
    sound, refused = path.read_bytes(), 0
    for place in range(0, len(sound), 3):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0xFF]) + sound[place + 1 :])
        try:
            load_samples(path, {})
        except DataError as problem:
            refused += 1
            assert str(path) in str(problem)
    assert refused > len(sound) / 12


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit", "MemoryError"])
def test_a_file_whose_execution_was_interrupted_is_executed_again(tmp_path: Path, error: str) -> None:
    path = tmp_path / "half.py"
    path.write_text(
        f"import pathlib\nflag = pathlib.Path({str(tmp_path / 'flag')!r})\n"
        f"if not flag.exists():\n    flag.touch()\n    raise {error}\ndef answer(): return 42\n"
    )
    with pytest.raises((KeyboardInterrupt, ConfigurationError)):
        call_code(f"{path}:answer")
    assert call_code(f"{path}:answer") == 42


@pytest.mark.parametrize(("code", "place"), [(-9, 3), (-11, 2), (1, 0), (0, 0)])
def test_a_check_that_a_signal_ends_is_a_failure(monkeypatch: pytest.MonkeyPatch, code: int, place: int) -> None:
    codes = [code if at == place else 0 for at in range(4)]
    monkeypatch.setattr(quick_tests, "changed", list)
    monkeypatch.setattr(quick_tests.subprocess, "run", lambda words, **_: CompletedProcess(words, codes.pop(0)))
    assert (quick_tests.main() == 0) == (code == 0)
    assert codes == []


def test_tuning_of_another_network_or_other_data_is_not_resumed(tmp_path: Path) -> None:
    network, _ = load_network("digits-cnn")
    chip = load_chip("etox65", ("calibration.reads=4", "calibration.images=4"))
    train, tuning = load("digits", "train", None).take(8, None), Tuning(steps=1, refresh=1, batch_size=2)
    digital = [name for name, part in network.named_modules() if hasattr(part, "weight_scale")]
    fine_tune(network, chip, train, tuning, tmp_path, digital=digital)
    fine_tune(network, chip, train, tuning, tmp_path, resume=True, digital=digital)
    other, _ = load_network("digits-cnn")
    with torch.no_grad():
        next(other.parameters()).mul_(1.01)
    labels = replace(train, labels=(train.labels + 1) % 10)
    pixels = replace(train, images=train.full_scale - train.images)
    for some, data in ((other, train), (network, labels), (network, pixels)):
        with pytest.raises(ConfigurationError, match="another network, chip or data"):
            fine_tune(some, chip, data, tuning, tmp_path, resume=True, digital=digital)
