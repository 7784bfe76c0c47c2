"""The page of results: its numbers come from runs, and a slice of it is run again."""

from __future__ import annotations

from pathlib import Path

import pytest

from results import cases, page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"


@pytest.mark.parametrize("name", ["etox65-bit-serial", "etox65-linear-pair-unfitted"])
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
        for case in cases.evaluations(network) + cases.attributions(network):
            assert f"| {network} | {case.name} |" in text


def test_a_finished_run_is_not_made_again(tmp_path: Path) -> None:
    case = cases.Case("kept", "digits-cnn", "no-such-command", ())
    folder = tmp_path / "digits-cnn" / "kept"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text('{"accuracy": 1.0}')
    (folder / "timing.json").write_text('{"seconds": 2.0}')
    assert case.run(tmp_path, None)["accuracy"] == 1.0
    with pytest.raises(SystemExit, match="no-such-command ended with code 2"):
        cases.Case("other", "digits-cnn", "no-such-command", ()).run(tmp_path, None)
