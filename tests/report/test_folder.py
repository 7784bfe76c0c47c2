"""Reading run folders for reports, and errors for folders without a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from norsim.data import Dataset
from norsim.errors import ConfigurationError
from norsim.experiments.read_back import read_run
from norsim.experiments.run_record import Answers, Missing


def copied(run: Path, place: Path) -> Path:
    shutil.copytree(run, place, ignore=shutil.ignore_patterns("units", "report.html", "figures"))
    return place


def test_everything_that_a_run_kept_is_read(macro_run: Path) -> None:
    found = read_run(macro_run)
    summary = json.loads((macro_run / "summary.json").read_text())
    assert found.summary == summary and found.evaluated
    assert isinstance(found.answers, Answers) and len(found.answers.labels) == summary["images"]
    assert (found.answers.array == found.answers.labels).mean() == summary["accuracy"]
    assert isinstance(found.data, Dataset) and not isinstance(found.samples, Missing)
    # 200 of all reads; those of the tile and its passes are among them or beside them.
    assert 200 <= len(found.samples) <= 200 + 4 + 4
    assert list(found.reads_by_layer()) == [layer["name"] for layer in summary["layers"]]
    assert sum(map(len, found.reads_by_layer().values())) == len(found.samples)


def test_runs_of_attribute_on_the_same_chip_beside_the_run_belong_to_it(
    macro_run: Path, stressed_run: Path, spice_run: Path
) -> None:
    assert [(part.by, Path(part.place).name) for part in read_run(macro_run).attributions] == [("layers", "layers")]
    assert not read_run(stressed_run).attributions
    named = read_run(stressed_run, attributions=[macro_run.parent / "layers"])
    assert [part.by for part in named.attributions] == ["layers"]
    with pytest.raises(ConfigurationError, match="is not a run of attribute"):
        read_run(macro_run, attributions=[spice_run])


def test_moved_images_are_missing_unless_their_folder_is_given(cifar_run: Path, cifar: Path, tmp_path: Path) -> None:
    run = copied(cifar_run, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["options"]["data_folder"] = str(tmp_path / "gone")
    (run / "manifest.json").write_text(json.dumps(manifest))
    missed = read_run(run).data
    assert isinstance(missed, Missing) and "the folder of the data set" in missed.reason and "gone" in missed.reason
    assert isinstance(read_run(run, data_folder=cifar).data, Dataset)


def test_images_with_other_labels_are_not_those_of_the_run(macro_run: Path, tmp_path: Path) -> None:
    run = copied(macro_run, tmp_path / "run")
    rows = (run / "results.csv").read_text().splitlines()
    number, label, *rest = rows[1].split(",")
    rows[1] = ",".join([number, str((int(label) + 1) % 10), *rest])
    (run / "results.csv").write_text("\n".join(rows) + "\n")
    found = read_run(run).data
    assert isinstance(found, Missing) and "its labels differ" in found.reason


def test_without_the_network_only_the_array_is_missing(macro_run: Path, tmp_path: Path) -> None:
    run = copied(macro_run, tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "network": str(tmp_path / "gone")}))
    found = read_run(run)
    assert isinstance(found.samples, Missing) and "gone" in found.samples.reason
    assert isinstance(found.answers, Answers)


@pytest.mark.parametrize("state", ["absent", "no run", "unfinished", "damaged", "of another command"])
def test_the_error_for_another_folder_says_what_it_is(macro_run: Path, tmp_path: Path, state: str) -> None:
    run = tmp_path / "run"
    if state == "no run":
        run.mkdir()
        (run / "notes.txt").touch()
    elif state != "absent":
        copied(macro_run, run)
    if state == "unfinished":
        (run / "summary.json").unlink()
    elif state == "damaged":
        (run / "summary.json").write_text("{")
    elif state == "of another command":
        (run / "summary.json").write_text('{"points": []}')
    problems = {
        "absent": "no folder", "no run": "it holds notes.txt", "unfinished": "resume it", "damaged": "cannot be read",
        "of another command": "a run of eval-network, which has no report",
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match=problems[state]):
        read_run(run)
