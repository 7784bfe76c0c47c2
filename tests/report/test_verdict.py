"""The verdict has the numbers of the summary, and states what was measured and what was not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from norsim.experiments.read_back import read_run
from norsim.experiments.run_record import Missing, Origin, RunRecord
from norsim.report.verdict import Verdict, verdict


@pytest.fixture(scope="module")
def macro(macro_run: Path) -> RunRecord:
    return read_run(macro_run)


def of(record: RunRecord, **changed: Any) -> Verdict:
    found = verdict(replace(record, summary={**record.summary, **changed}))
    assert found is not None
    return found


def with_manifest(record: RunRecord, **changed: Any) -> RunRecord:
    """Return the run with other entries in its manifest; an entry of None is removed."""
    assert isinstance(record.origin, Origin)
    manifest = {key: value for key, value in {**record.origin.manifest, **changed}.items() if value is not None}
    return replace(record, origin=replace(record.origin, manifest=manifest))


def test_numbers_are_those_of_the_summary(macro: RunRecord) -> None:
    found, summary = of(macro), macro.summary
    for row in found.rows:
        assert row.accuracy == summary[row.key] and row.ci95 == tuple(summary[f"{row.key}_ci95"])
    lost = {one.key: one for one in found.lost}
    assert lost["drop_points"].points == pytest.approx(summary["drop_points"])
    assert sum(lost[key].points for key in ("drop_quantization", "drop_array")) == pytest.approx(summary["drop_points"])
    for one in found.lost:
        assert one.ci95 and one.ci95[0] < one.points < one.ci95[1]
    assert f"{summary['verification']['max_error_full_scale']:.1e}" in " ".join(found.proof)


def test_the_verification_states_its_bound(macro: RunRecord) -> None:
    text = " ".join(of(macro).proof)
    assert "The requested bound, 0.001 of full scale, is met." in text
    plain = with_manifest(macro, checks={"min_accuracy": None, "tolerance": None})
    assert "within the 0.0001 that norsim claims for macro" in " ".join(of(plain).proof)
    worse = {**macro.summary["verification"], "max_error_full_scale": 2e-3, "tiles": None, "passes": None}
    assert "MORE than" in " ".join(of(plain, verification=worse).proof)
    assert "is NOT met" in " ".join(of(macro, verification=worse).proof)


@pytest.mark.parametrize("words", [["--tolerance", "1e-9"], ["--tolerance=1e-9"]])
def test_the_bound_comes_from_the_manifest_not_from_the_command(macro: RunRecord, words: list[str]) -> None:
    """Older runs recorded no bound, and the arguments of a Python program have no meaning here."""
    older = with_manifest(macro, checks=None, command=["norsim", "eval-network", *words])
    program = with_manifest(macro, checks={}, command=["norsim", "sizes", *words])
    for run in (older, program):
        text = " ".join(of(run).proof)
        assert "requested" not in text and "within the 0.0001 that norsim claims for macro" in text
    text = " ".join(of(with_manifest(macro, command=["norsim", "eval-network", *words])).proof)
    assert "The requested bound, 0.001 of full scale, is met." in text


def test_the_end_to_end_proof_comes_first(macro: RunRecord) -> None:
    found, proof = of(macro), macro.summary["end_to_end"]
    assert found.proof[0].startswith(
        f"End to end: macro and nodal classify {100 - proof['changed']} of 100 images alike"
    )
    assert f"{100 * proof['changed_ci95'][1]:.2f} % of the predictions may change" in found.proof[0]
    text = " ".join(found.proof)
    assert "16 reads of every tile were solved again by nodal" in text
    assert ", one of each pass of each layer, were solved again by ngspice" in text
    assert "With 95 % confidence, at most 52.7 % of all reads deviate more." in text, "4 reads: 1 - 0.05^(1/4)"
    assert of(macro, end_to_end=None).proof[0].startswith("16 reads of every tile")
    steps = with_manifest(macro, checks={"tolerance_steps": 1e-9})
    assert "The requested bound, 1e-09 converter steps, is NOT met." in of(steps).proof


def test_a_run_of_version_0_1_is_reported(macro: RunRecord) -> None:
    """Its verification has neither steps nor other parts, and no end-to-end proof."""
    old = {key: macro.summary["verification"][key] for key in (
        "samples", "max_error_full_scale", "rms_error_full_scale", "adc_mismatch_fraction", "adc_mismatch_ci95",
    )}  # fmt: skip
    summary = {key: value for key, value in macro.summary.items() if key != "end_to_end"} | {"verification": old}
    found = verdict(replace(macro, summary=summary))
    assert found and found.proof[0].startswith("4 reads were solved again by ngspice. Largest deviation")


def test_missing_measurements_are_stated(macro: RunRecord, stressed_run: Path, spice_run: Path) -> None:
    unknown = of(macro, accuracy_float=None, accuracy_float_ci95=None)
    assert unknown.rows[0].accuracy is None and [one.key for one in unknown.lost] == ["drop_array"]
    stressed, spice = verdict(read_run(stressed_run)), verdict(read_run(spice_run))
    assert stressed and any("reads of every tile were solved again by nodal" in line for line in stressed.proof)
    assert spice and spice.proof[0] == "ngspice itself solved every read on the array, tile by tile."
    assert (
        "with 1 of its 3 layers and 14.9 % of its multiply-accumulates there (conv1) and the others" in spice.headline
    )
    assert stressed.headline.endswith("on the array, which does 100.0 % of its multiply-accumulates.")
    assert "No bound is claimed for ngspice" in " ".join(spice.proof)
    ideal = of(macro, backend="ideal")
    assert ideal.proof[0].startswith("Not measured") and "no array was read" in ideal.headline
    several = replace(macro, answers=Missing("of several chips"))
    assert all(one.ci95 is None for one in of(several).lost)


def test_attribute_has_no_verdict(macro_run: Path) -> None:
    assert verdict(read_run(macro_run.parent / "layers")) is None
