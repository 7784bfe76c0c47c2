"""Files of a finished run that were changed or damaged are named; they never give other numbers or a traceback."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from norsim.array.measured import Measured
from norsim.array.non_idealities.current_spreads import CurrentSpreads
from norsim.commands import main
from norsim.errors import DataError, WriteError
from norsim.evaluation.proof.kept_reads import load_samples
from norsim.experiments.read_back import network_of_run
from norsim.experiments.run_files import CHECKSUMS
from norsim.experiments.run_folder import RunFolder, damaged, phase_seconds
from norsim.files import make_folder, write_text
from norsim.folders.output import OutputFolder
from norsim.jobs.unit_store import checksum_line
from norsim.tiling.modules import tiled_layers

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run with one layer on the array, of a network in a folder beside it."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("norsim.experiments.run_folder.shared_units", lambda: place / "units")
        options = ["--network", "digits-cnn", "--layers", "fc", "--images", "3", "--spice-sample", "2"]
        options += ["--proof-images", "0", "--quiet", "--out", str(place / "run")]
        patch.setattr("sys.argv", ["norsim", "eval-network", *options])
        main()
    return place / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def change(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; None deletes one."""
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_a_changed_manifest_does_not_match_its_checksum(norsim: Run, run: Path) -> None:
    assert norsim("runs", "verify", run).code == 0
    change(run / "manifest.json", seed=7)
    ended = norsim("runs", "verify", run)
    assert ended.code == 5 and "manifest.json" in ended.err


def test_files_in_folders_have_checksums_but_not_those_made_later(tmp_path: Path) -> None:
    run = RunFolder(OutputFolder(tmp_path / "run", "run-layer"), {}, Path("chip.yaml"), 0)
    files = [run.path / name for name in ("network/card.json", "netlists/a.cir", "figures/a.svg")]
    for path in files:
        make_folder(path.parent)
        write_text(path, "as written")
    run.finish({})
    assert damaged(run.path) == []
    assert subprocess.run(["sha256sum", "--check", "--quiet", CHECKSUMS], cwd=run.path, check=False).returncode == 0
    for path in files:
        path.write_text("changed")
    assert damaged(run.path) == [run.path / "netlists" / "a.cir", run.path / "network" / "card.json"]
    for path in files:
        path.unlink()
    assert len(damaged(run.path)) == 2


@pytest.mark.parametrize("name", ["../other", "/etc/passwd"])
def test_a_checksum_of_a_file_outside_the_run_is_damage(tmp_path: Path, name: str) -> None:
    run = RunFolder(OutputFolder(tmp_path / "run", "run-layer"), {}, Path("chip.yaml"), 0)
    run.finish({})
    (tmp_path / "other").write_text("x")
    content = (run.path / name).read_bytes()
    with open(run.path / CHECKSUMS, "a") as file:
        file.write(checksum_line(name, content))
    assert damaged(run.path) == [run.path / name]


def test_a_result_that_cannot_be_read_back_ends_in_a_write_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(OutputFolder(tmp_path / "run", "run-layer"), {}, Path("chip.yaml"), 0)

    read = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path.name == "manifest.json":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(WriteError, match="cannot be read back for its checksum: Input/output error"):
        run.finish({})


def test_old_characterisations_are_removed(norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cells = tmp_path / "norsim" / "cells"
    cells.mkdir(parents=True)
    old, new, unfinished, foreign = (
        cells / name for name in (f"{64 * '0'}.npz", f"{64 * '1'}.npz", f".{64 * '0'}.npz.77", "notes.npz")
    )
    for path in (old, new, unfinished, foreign):
        path.write_bytes(b"1234")
        if path != new:
            os.utime(path, (0, time.time() - 100 * 24 * 3600))
    assert norsim("runs", "gc", cells, "--dry-run", "--json").json["files"] == 2 and old.exists()
    assert norsim("runs", "gc", cells).code == 0
    assert sorted(cells.iterdir()) == sorted([new, foreign])


def test_reads_are_not_solved_again_with_other_weights_or_another_cell(run: Path) -> None:
    path = run / "samples.npz"
    grid = tiled_layers(network_of_run(run))["fc"].grid
    assert load_samples(path, {"fc": grid})[0]
    codes = grid.layer.weights.copy()
    codes[0, 0] ^= 1
    weights = replace(grid, layer=replace(grid.layer, weights=codes))
    hotter = replace(grid.chip.cell, temperature_kelvin=grid.chip.cell.temperature_kelvin + 1)
    cell = replace(grid, chip=replace(grid.chip, cell=hotter))
    models = replace(grid.chip.cell, models=grid.chip.cell.models + "\n* corrected")
    card = replace(grid, chip=replace(grid.chip, cell=models))
    table = Measured(*(np.ones(1) for _ in range(5)), digest="other")
    silicon = replace(grid.chip.silicon, mechanisms=(CurrentSpreads(measured=table),))
    measured = replace(grid, chip=replace(grid.chip, silicon=silicon))
    changed = ((weights, "weights"), (cell, "cell"), (card, "cell"), (measured, "table of measured cells"))
    for other, what in changed:
        with pytest.raises(DataError, match=f"the {what} of layer fc changed since the run"):
            load_samples(path, {"fc": other})


@pytest.mark.parametrize("name", ["timing.json", "summary.json", "manifest.json"])
@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_damaged_file_of_a_run_is_named(norsim: Run, run: Path, name: str, text: str) -> None:
    (run / name).write_bytes(text.encode(errors="surrogateescape"))
    ended = norsim("runs", "show", run)
    assert ended.code == 2 and "run" in ended.err


def test_a_command_that_is_no_list_is_shown(norsim: Run, run: Path) -> None:
    change(run / "manifest.json", command="norsim eval-network")
    assert norsim("runs", "show", run).code == 0


@pytest.mark.parametrize(
    ("name", "values"),
    [("manifest", {"seed": None}), ("manifest", {"seed": "x"}), ("manifest", {"laws": []}),
     ("manifest", {"options": 3}),
     ("manifest", {"chip_file": 5}), ("summary", {"network": None})],
)  # fmt: skip
@pytest.mark.parametrize("command", ["verify", "report"])
def test_a_run_without_a_needed_value_is_refused(
    norsim: Run, run: Path, command: str, name: str, values: dict[str, Any]
) -> None:
    change(run / f"{name}.json", **values)
    ended = norsim(command, run)
    (key,) = values
    assert ended.code == 2 and key in ended.err and f"{name}.json" in ended.err


def test_shared_units_that_vanish_are_passed_over(
    norsim: Run, shared_units: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, gone = (shared_units / "ab" / f"ab{k}" for k in range(2))
    there.parent.mkdir(parents=True)
    there.write_bytes(b"12345")
    os.utime(there, (0, time.time() - 100 * 24 * 3600))
    monkeypatch.setattr("norsim.commands.run.runs.unit_files", lambda folder: [gone, there])
    found = norsim("runs", "gc", tmp_path, "--json")
    assert found.code == 0 and found.json["files"] == 1 and found.json["bytes"] == 5 and not there.exists()


@pytest.mark.parametrize(
    "line", ["[]", "3", "{}", '{"event": "phase ended"}', '{"event": "phase ended", "phase": 1', ""]
)
def test_an_event_of_another_form_is_passed_over(tmp_path: Path, line: str) -> None:
    good = '{"event": "phase ended", "phase": "read", "seconds": 2.0}'
    (tmp_path / "events.jsonl").write_text(f"{good}\n{line}\n{good}\n")
    assert phase_seconds(tmp_path) == {"read": 4.0}
