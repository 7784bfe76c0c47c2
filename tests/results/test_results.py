"""The page of results: its numbers come from runs, and a slice of it is run again."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from norsim.chip.load import load_chip
from results import cases, figures, page, read_chain, silicon
from tests.processes import start

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"


@pytest.fixture
def _forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run cases in processes that need not import norsim again."""

    def run(words: list[str], **_: Any) -> CompletedProcess[bytes]:
        # After Python and the program that it is called with.
        return CompletedProcess(words, start(*words[3:]).wait())

    monkeypatch.setattr(cases.subprocess, "run", run)


@pytest.mark.parametrize(
    "name", ["etox65-bit-serial", pytest.param("etox65-linear-pair-unfitted", marks=pytest.mark.soak)]
)
@pytest.mark.slow
@pytest.mark.usefixtures("_forked")
def test_a_line_of_the_page_is_what_the_command_gives_again(tmp_path: Path, name: str) -> None:
    case = next(case for case in cases.evaluations("digits-cnn") if case.name == name)
    found = {"digits-cnn": {name: case.run(tmp_path, None)}}
    line = next(line for line in page._array(found) if line.startswith("| digits-cnn"))
    # The proof samples other reads where models differ in a last digit, and seconds are seconds.
    accuracy_and_loss = " | ".join(line.split(" | ")[:5])
    assert accuracy_and_loss in PAGE.read_text()


def test_the_page_has_every_run_of_its_networks() -> None:
    text = PAGE.read_text()
    named = [network for network in cases.networks() if f"| {network} |" in text]
    assert page.WRITTEN_BY in text and "digits-cnn" in named
    for network in named:
        for case in cases.cases(network):
            assert case.name == "speed" or f"| {network} | {case.name} |" in text, case


def test_published_spreads_are_of_at_least_ten_chips() -> None:
    for network in cases.networks():
        for case in cases.cases(network):
            counts = [
                int(after) for word, after in zip(case.options, case.options[1:], strict=False) if word == "--trials"
            ]
            assert all(count >= 10 for count in counts), case.name
            # What draws cells at random draws several chips.
            drawn = any(
                word.startswith(("silicon.drift_cell", "silicon.programming", "silicon.aged")) for word in case.options
            )
            assert counts or not drawn, case.name


@pytest.mark.slow
def test_the_table_of_losses_holds_what_a_run_found(tmp_path: Path) -> None:
    case = cases.Case("layers-bit-serial", "digits-cnn", "attribute", ("--by", "layers", "--images", "20"))
    found = case.run(tmp_path, None)
    rows = list(page._attribution({"digits-cnn": {case.name: found}}, "layers", "layer"))
    whole = found["array"]["points"]
    assert f"| digits-cnn | layers-bit-serial | 20 | all together | {whole:.2f} (" in "\n".join(rows)
    assert f", {found['verdict']} within ±1 |" in rows[-2] and len({row.count("|") for row in rows[3:-1]}) == 1


def test_a_finished_run_is_not_made_again(tmp_path: Path) -> None:
    case = cases.Case("kept", "digits-cnn", "no-such-command", ())
    folder = tmp_path / "digits-cnn" / "kept"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text('{"accuracy": 1.0}')
    (folder / "timing.json").write_text('{"seconds": 2.0}')
    line = ["--network", case.network, "--out", str(folder), "--quiet", "--overwrite"]
    made_by = {"command": [*case.program, case.command, *line], **cases.inputs(case.network)}
    (folder.parent / "kept.made-by.json").write_text(json.dumps(made_by, indent=1) + "\n")
    assert case.run(tmp_path, None)["accuracy"] == 1.0
    made_by["weights"] = "other"
    (folder.parent / "kept.made-by.json").write_text(json.dumps(made_by, indent=1) + "\n")
    with pytest.raises(SystemExit, match="no-such-command ended with code 2"):
        case.run(tmp_path, None)
    with pytest.raises(SystemExit, match="no-such-command ended with code 2"):
        cases.Case("other", "digits-cnn", "no-such-command", ()).run(tmp_path, None)


# The table of losses, above, is made of a run in the same way.
@pytest.mark.soak
@pytest.mark.usefixtures("_forked")
def test_the_tables_of_silicon_hold_what_runs_found(tmp_path: Path) -> None:
    few = ("--images", "20")
    stress, sampled = ("--chip", "etox65-stress"), (*few, "--spice-sample", "1")
    runs = [
        cases.Case("energy-bit-serial", "digits-cnn", "eval-network", sampled),
        cases.Case(silicon.STRESS, "digits-cnn", "eval-network", (*stress, *sampled)),
        cases.Case(silicon.SHARES, "digits-cnn", "attribute", ("--by", "cures", *stress, *few)),
        cases.Case("sweep-converter", "digits-cnn", "sweep", ("--vary", "adc.bits=2,8", "--trials", "2", *sampled)),
    ]
    found = {"digits-cnn": {case.name: case.run(tmp_path, None) for case in runs}}
    cured, swept, cost = ("\n".join(part(found)) for part in (silicon.cures, silicon.sweeps, silicon.energy))
    worst, best = found["digits-cnn"]["sweep-converter"]["points"]
    assert worst["accuracy"] < best["accuracy"]
    for row in (worst, best):
        line = f"| digits-cnn | sweep-converter | 20 | 2 | `adc.bits={row['adc.bits']}` | {100 * row['accuracy']:.2f} %"
        assert line in swept
    assert f"| digits-cnn | {silicon.STRESS} | " in cured and "| programming in place |" in cured
    energy = found["digits-cnn"]["energy-bit-serial"]["energy"]
    assert f"| digits-cnn | energy-bit-serial | {energy['macs_image'] / 1e6:.2f} M | " in cost
    figures.draw_silicon(found, tmp_path)
    assert (tmp_path / "silicon.svg").stat().st_size > 5000


def test_a_chip_takes_the_settings_of_the_read_chain_and_the_page_ranks_its_causes(tmp_path: Path) -> None:
    chip = load_chip("etox65", tuple(read_chain.CHAIN))
    assert chip.wires.has_strap_metal and chip.sensing.has_offset and chip.converters.noise
    options = [case.options for case in read_chain.ground("digits-cnn")]
    assert len(options) == 6 and sum("silicon.in_situ=true" in some for some in options) == 3

    def points(value: float) -> dict[str, Any]:
        return {"points": value, "ci95": [value - 1, value + 1]}

    def nats(value: float) -> dict[str, Any]:
        return {"nats": value, "ci95": [value - 0.01, value + 0.01]}

    shares = [
        {"name": name, "alone": points(1), "without": points(2), "shapley": points(3), "cross_entropy": nats(rise)}
        for name, rise in (("cell", 0.1), ("straps", 0.3), ("sensing", 0.2))
    ]
    found = {"digits-cnn": {"shares": shares, "array": points(9), "array_cross_entropy": nats(0.6)}}
    rows = [row for row in read_chain.page({}, found).splitlines() if row.startswith("| digits-cnn")]
    assert [row.split(" | ")[1] for row in rows] == ["straps", "sensing", "cell", "all together"]
    assert len({row.count("|") for row in rows}) == 1
    figures.draw_ranking({name: read_chain.by_share(summary) for name, summary in found.items()}, tmp_path)
    assert (tmp_path / "read-chain.svg").stat().st_size > 5000
