"""Read the folder of a finished run for a report."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from norsim.chip.load import build_chip
from norsim.chip.model import Chip
from norsim.chip.renamed import check_laws, check_renamed, of_stored_run
from norsim.configuration.strict_yaml import read_yaml
from norsim.data import Dataset, images_in, load
from norsim.data.inputs.choice import at_most, everything
from norsim.errors import ConfigurationError, NorsimError
from norsim.evaluation.metrics import ACCURACY
from norsim.evaluation.proof.kept_reads import load_samples
from norsim.evaluation.proof.sampling import Sample
from norsim.experiments.run_record import Answers, AttributionRecord, Missing, Origin, RunRecord
from norsim.saved.network_folder import load_network
from norsim.tiling.convert import convert
from norsim.tiling.modules import tiled_layers
from norsim.user_code import is_code

REPORTED = ("eval-network", "attribute")


def read_run(
    run: Path, *, data_folder: Path | None = None, attributions: Sequence[Path] = (), trust_model: bool = False,
    trust_cell: bool = False,
) -> RunRecord:  # fmt: skip
    """Return the record of a run of eval-network or attribute, with the results of attribute that belong to it.

    These are `attributions`, by default those in the same parent folder with the same network, images and chip. What is
    no longer available, such as a deleted data set, is Missing. Raises ConfigurationError for a folder without a
    finished run of these commands, and for `attributions` that are not runs of attribute.
    """
    summary, manifest, chip = _records(run)
    origin = Origin(manifest, chip, _seconds(run))
    own = (AttributionRecord(str(run), summary),) if "shares" in summary else ()
    others = [_attribution(path) for path in attributions] if attributions else _beside(run, summary, chip)
    model, card = _network(run, summary, origin, trust_model, trust_cell)
    answers = (
        Missing("A run of attribute keeps no answers of single images.")
        if "accuracy" not in summary
        else _answers(run / "results.csv")
        if summary.get("metric", ACCURACY) == ACCURACY
        else Missing(f"The outputs were judged by the metric {summary['metric']}, so no class of an image was kept.")
    )
    data = _data(manifest, card, summary, data_folder, trust_model, answers)
    return RunRecord(str(run), summary, answers, _samples(run, model), model, data, origin, (*own, *others))


def _records(run: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return summary.json, manifest.json and the chip. Raises ConfigurationError if the folder lacks them."""
    advice = f"give the folder of a finished run of {' or '.join(REPORTED)}; `norsim runs ls` lists runs"
    if not run.is_dir():
        raise ConfigurationError(f"there is no folder {run}; {advice}")
    if not (run / "manifest.json").is_file():
        held = sorted(path.name for path in run.iterdir())[:3]
        raise ConfigurationError(f"{run} is not a run folder: it holds {', '.join(held) or 'nothing'}; {advice}")
    if not (run / "summary.json").is_file():
        raise ConfigurationError(f"the run in {run} has not finished: resume it, then report it")
    try:
        manifest, summary = (json.loads((run / f"{name}.json").read_text()) for name in ("manifest", "summary"))
        # A run whose command was called from Python has no words of a command line.
        kind = next(map(str, manifest["command"][1:]), "another command")
        chip = read_yaml(run / "config.resolved.yaml")
    except (OSError, ValueError, KeyError, IndexError, TypeError, ConfigurationError) as problem:
        raise ConfigurationError(f"the files of {run} cannot be read ({problem}); {advice}") from None
    known = isinstance(summary, dict) and ("accuracy" in summary or "shares" in summary)
    wrong = _wrong(manifest, summary) if known and "chip_file" in manifest else None
    if wrong is not None:
        raise ConfigurationError(f"the files of {run} cannot be read: {wrong}; repeat the run")
    if not known or "chip_file" not in manifest or not isinstance(chip, dict):
        raise ConfigurationError(f"{run} is a run of {kind}, which has no report; {advice}")
    return summary, manifest, of_stored_run(chip)


def _wrong(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> str | None:
    """Return what is wrong in the values that a report and a verification need; None if they can be used."""
    # Version 0.1 wrote no laws.
    needed = {"seed": (manifest.get("seed"), int), "laws": (manifest.get("laws", 0), int),
              "options": (manifest.get("options", {}), dict), "chip_file": (manifest["chip_file"], str)}  # fmt: skip
    for name, (value, kind) in needed.items():
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"{name} in manifest.json is {value!r}, which is no {kind.__name__}"
    network = summary.get("network")
    return None if isinstance(network, str) else f"network in summary.json is {network!r}, which is no str"


def _seconds(run: Path) -> float | None:
    try:
        return float(json.loads((run / "timing.json").read_text())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _attribution(path: Path) -> AttributionRecord:
    summary, _, _ = _records(path)
    if "shares" not in summary:
        raise ConfigurationError(f"{path} is not a run of attribute, so it has no attribution of losses")
    return AttributionRecord(str(path), summary)


def _beside(run: Path, summary: Mapping[str, Any], chip: Mapping[str, Any]) -> list[AttributionRecord]:
    """Return the results of attribute in the parent folder of `run` for the same network, images and chip."""
    found = []
    for path in sorted(run.resolve().parent.glob("*/summary.json")):
        if path.parent == run.resolve():
            continue
        try:
            other, _, its_chip = _records(path.parent)
        except ConfigurationError:
            continue
        same = all(other.get(key) == summary.get(key) for key in ("network", "dataset", "encoding"))
        if "shares" in other and same and its_chip == chip:
            found.append(AttributionRecord(str(run.parent / path.parent.name), other))
    return found


def _network(
    run: Path, summary: Mapping[str, Any], origin: Origin, trust_model: bool, trust_cell: bool
) -> tuple[nn.Module | Missing, dict[str, Any]]:
    """Return the run's network on its chip, and the network's card; Missing, with the reason, if not available."""
    try:
        network, card = load_network(_place_of_network(run, summary), trust_model)
    except NorsimError as problem:
        return Missing(f"The run's network cannot be read: {problem}"), {}
    try:
        return convert(network, _chip(run, origin, trust_cell)), card
    except NorsimError as problem:
        return Missing(f"The run's chip cannot be rebuilt: {problem}"), card


def network_of_run(run: Path, *, trust_model: bool = False, trust_cell: bool = False) -> nn.Module:
    """Return the converted network of a finished run of eval-network, on the run's chip; it is not calibrated.

    Raises ConfigurationError for a folder without such a run, and the errors of loading the network and the chip.
    """
    summary, manifest, chip = _records(run)
    if "accuracy" not in summary:
        raise ConfigurationError(f"{run} is not a run of eval-network: its summary.json has no accuracy")
    network, _ = load_network(_place_of_network(run, summary), trust_model)
    return convert(network, _chip(run, Origin(manifest, chip, None), trust_cell))


def _place_of_network(run: Path, summary: Mapping[str, Any]) -> str:
    """Return the path of the run's network; one that the run quantized is in its folder, wherever that was moved."""
    name, kept = str(summary["network"]), run / "network"
    return str(kept) if Path(name).name == kept.name and kept.is_dir() else name


def _chip(run: Path, origin: Origin, trust_cell: bool) -> Chip:
    """Return the run's chip: the first specimen of its seed."""
    record = str(run / "config.resolved.yaml")
    check_renamed(origin.chip, record)
    check_laws(origin.chip, int(origin.manifest.get("laws", 0)), record)
    chip = build_chip(dict(origin.chip), Path(origin.manifest["chip_file"]), trust_cell)
    return chip.specimen(int(origin.manifest["seed"]), 0)


def _samples(run: Path, model: nn.Module | Missing) -> list[Sample] | Missing:
    """Return the reads that the run kept, on the tiles of `model`."""
    if isinstance(model, Missing):
        return model
    path = run / "samples.npz"
    if not path.is_file():
        return Missing("The run did not keep any reads.")
    try:
        grids = {name: layer.grid for name, layer in tiled_layers(model).items()}
        return load_samples(path, grids)[0] or Missing("No array was read, so no reads were kept.")
    except NorsimError as problem:
        return Missing(f"The reads that the run kept cannot be used: {problem}")


def _answers(path: Path) -> Answers | Missing:
    """Read results.csv."""
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        columns = [np.array([int(row[name]) for row in rows], np.int64) for name in ("label", "array", "quantized")]
        known = all(row["float"] for row in rows)
        full = np.array([int(row["float"]) for row in rows], np.int64) if known else None
    except (OSError, KeyError, TypeError, ValueError) as problem:
        return Missing(f"The run's answers cannot be read from {path}: {problem}")
    return Answers(columns[0], columns[1], columns[2], full) if rows else Missing(f"{path} holds no answers.")


def _data(
    manifest: Mapping[str, Any],
    card: Mapping[str, Any],
    summary: Mapping[str, Any],
    folder: Path | None,
    trusted: bool,
    answers: Answers | Missing,
) -> Dataset | Missing:
    """Return the run's test images, if they are available and their labels are those of the run."""
    options = manifest.get("options") or {}
    recorded = {
        key: None if options.get(key) in (None, "None") else str(options[key]) for key in ("dataset", "data_folder")
    }
    name = recorded["dataset"] or card.get("dataset")
    if name is None:
        return Missing("The run does not record which data set it used.")
    if is_code(name) and not trusted:
        return Missing(f"The data set is the Python code {name}, which is not run unless it is trusted.")
    where = folder or (Path(recorded["data_folder"]) if recorded["data_folder"] else None)
    try:
        count = summary.get("images")
        kept = options.get("transform") or card.get("transform")
        transform = None if kept in (None, "None") else str(kept)
        data = images_in(load(name, "test", where, at_most(count) if isinstance(count, int) else everything, transform))
    except NorsimError as problem:
        return Missing(f"The images are not available: {problem} Give the report the folder of the data set.")
    if isinstance(answers, Answers) and not np.array_equal(data.labels[: len(answers.labels)], answers.labels):
        return Missing(f"The data set {name} is not the one that the run used: its labels differ.")
    return data
