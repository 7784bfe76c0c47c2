"""The parts of the results: the plan, what is known of a part, a part that really runs, and pages of parts' files."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from norsim.chip.load import load_chip
from norsim.commands import cli, main
from results import __main__ as program
from results import figures, page, read_chain, readme
from results.cells import common, row
from results.inputs import bare, chip_of, inputs, sources
from results.part import COMMANDS, ROOT, Part, Places, card, networks
from results.plan import CHAIN, DIGITS, PARTS, REFERENCE, SHIPPED
from results.run import PartError, packed, run, unpacked
from results.states import DONE, FACTOR, INTERRUPTED, MISSING, STALE, UNKNOWN, Store, state_of

HERE = sources(Places())
QUICK = ("--spice-sample", "1", "--proof-images", "0", "--no-cache", "--set", "calibration.images=40")


def test_the_plan_measures_every_shipped_network_on_every_image_once() -> None:
    names = [part.name for part in PARTS]
    assert len(set(names)) == len(names) and set(SHIPPED) == set(networks())
    for network in SHIPPED:
        own = [part for part in PARTS if (part.network, part.row) == (network, REFERENCE)]
        spans = sorted((part.skipped, part.skipped + (part.images or card(network)["test_images"])) for part in own)
        assert spans[0][0] == 0 and spans[-1][1] == card(network)["test_images"]
        assert all(before[1] == after[0] for before, after in pairwise(spans))
        for row_name in ("proof", "ideal-straps", "one-end", "one-end-in-place"):
            assert f"{network}-{row_name}" in names
        (proof,) = (part for part in PARTS if part.name == f"{network}-proof")
        assert int(proof.options[proof.options.index("--proof-images") + 1]) >= 300
    assert all(json.loads(file.read_text())["made"]["minutes"] <= 120 for file in Store().parts.glob("*.json"))


def test_the_commands_of_the_plan_exist_with_their_options() -> None:
    commands = {words[0] for part in PARTS for words in part.commands()}
    known_commands = {name: cli.get_command(click.Context(cli), name) for name in commands}
    for part in PARTS:
        for words in part.commands():
            command = known_commands[words[0]]
            assert command is not None
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            assert {word for word in words if word.startswith("--")} <= known, part.name
    for options in {part.options for part in PARTS if part.network == SHIPPED[1]}:
        chip_of(options)


def test_published_spreads_are_of_at_least_ten_chips() -> None:
    for part in PARTS:
        words = part.options
        counts = [int(after) for word, after in pairwise(words) if word == "--trials"]
        assert all(count >= 10 for count in counts), part.name
        # What draws cells at random draws several chips; an attribution compares causes on one.
        drawn = any(word.startswith(("silicon.drift_cell", "silicon.programming", "silicon.aged")) for word in words)
        assert counts or not drawn or part.command == "attribute", part.name


def file(store: Store, part: Part, minutes: float = 2.0, **changes: str | None) -> None:
    """Write the file of a part without numbers."""
    made = {"norsim": "0", "machine": "one", "minutes": minutes}
    content = {"inputs": inputs(part, HERE) | changes, "made": made, "commands": part.shown(), "result": {}}
    store.parts.mkdir(exist_ok=True)
    store.file(part).write_text(json.dumps(content))


def test_the_state_of_a_part_says_what_changed_and_how_long_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "parts", tmp_path / "runs")
    part = Part(DIGITS, "some", options=QUICK, images=20)
    state = state_of(part, store, HERE)
    assert (state.kind, state.minutes) == (MISSING, None) and state.wanted
    store.runs.mkdir()
    store.estimate(part).write_text(json.dumps({"commands": part.commands(), "seconds": 120}))
    assert state_of(part, store, HERE).minutes == pytest.approx(2 * FACTOR)
    store.started(part).write_text(json.dumps({"inputs": inputs(part, HERE), "seconds": 60}))
    state = state_of(part, store, HERE)
    assert (state.kind, state.minutes) == (INTERRUPTED, pytest.approx(2 * FACTOR - 1))
    store.started(part).unlink()
    file(store, part, minutes=7.0)
    assert state_of(part, store, HERE).kind == DONE
    for changes in ({"chip": "other"}, {"weights": "other", "physics": "other"}):
        file(store, part, minutes=7.0, **changes)
        state = state_of(part, store, HERE)
        assert (state.kind, state.why, state.minutes) == (STALE, list(changes), 7.0)
    assert "stale: weights, physics changed" in state.words()
    # Other options are another measurement; data that the command line does not name are not looked at.
    assert state_of(replace(part, images=30), store, HERE).why == ["weights", "arguments", "physics"]
    elsewhere = Part("resnet20", "some")
    assert state_of(elsewhere, store, HERE).words() == "not possible: needs --data DIR"
    file(store, elsewhere, data="other")
    assert state_of(elsewhere, store, HERE).kind == DONE
    assert state_of(Part(DIGITS, "x", options=("--chip", "none")), store, HERE).kind == UNKNOWN
    folders = ("--results", store.parts, "--runs", store.runs, "--list")
    program.main([*map(str, folders), "digits*"], [part, elsewhere])
    out = capsys.readouterr().out
    assert "7.0 min (as last time)  stale: weights, physics changed" in out and "1 parts left: 7 minutes" in out
    with pytest.raises(SystemExit):
        program.main(["--list", "digits-cnn-som"], [part])
    assert "digits-cnn-some" in capsys.readouterr().err


def test_no_comment_but_every_statement_changes_the_digest_of_the_physics() -> None:
    code = '"""One."""\n\n# Two.\ndef f(x):\n    """Three.\n\n    Four."""\n    return x + 1  \n'
    assert bare(code) == bare(code.replace("One", "1").replace("# Two.\n", "\n").replace("Four", "4"))
    assert bare(code) != bare(code.replace("x + 1", "x + 2"))


def test_parts_are_started_in_their_order_while_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "parts", tmp_path / "runs")
    parts = [Part(DIGITS, f"of-{minutes}", options=QUICK) for minutes in (10, 4, 3, 30)]
    for part in parts:
        file(store, part, minutes=float(part.row[3:]), chip="other")
    done: list[str] = []

    def measured(part: Part, *_: Any) -> None:
        done.append(part.row)
        if part.row == "of-4":
            raise PartError(part, 3)

    monkeypatch.setattr(program, "run", measured)
    monkeypatch.setattr(program, "write_pages", lambda *_: None)
    folders = ["--results", str(store.parts), "--runs", str(store.runs)]
    # A part that fails does not stop the others.
    assert program.main([*folders, "--minutes", "5"], parts) == 1
    assert done == ["of-4", "of-3"]


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """Run the commands of parts in this process; return their words."""
    seen: list[list[str]] = []

    def here(words: list[str]) -> int:
        seen.append(words)
        monkeypatch.setattr(sys, "argv", ["norsim", *words[1 + len(COMMANDS) :]])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    monkeypatch.setattr("results.run.exit_code", here)
    return seen


def test_a_part_runs_resumes_and_joins_others_on_a_page(
    tmp_path: Path, ends: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "parts", tmp_path / "runs")
    whole = Part(DIGITS, REFERENCE, options=QUICK, images=40)
    pieces = [replace(whole, images=20, skipped=skipped, number=number) for number, skipped in ((1, 0), (2, 20))]
    finished = sys.modules["results.run"].exit_code
    with monkeypatch.context() as patch:
        patch.setattr("results.run.exit_code", lambda words: finished(words) or 130)
        with pytest.raises(PartError, match="ended with code 130"):
            run(whole, store, HERE)
    assert state_of(whole, store, HERE).kind == INTERRUPTED and "--overwrite" in ends[-1]
    run(whole, store, HERE)
    assert state_of(whole, store, HERE).kind == DONE and "--resume" in ends[-1]
    for piece in pieces:
        run(piece, store, HERE)
    found = {path.stem: json.loads(path.read_text()) for path in store.parts.glob("*.json")}
    one, joined = row(found, DIGITS, REFERENCE, [whole]), row(found, DIGITS, REFERENCE, pieces)
    assert list(joined.images) == list(range(40)) == list(one.images)
    for network in ("float", "quantized", "array"):
        assert np.array_equal(one.correct(network), joined.correct(network))
    second = row({pieces[1].name: found[pieces[1].name]}, DIGITS, REFERENCE, pieces)
    assert second.missing == [pieces[0].name] and len(common(one, second)[0]) == 20
    assert 0 < (one.worst("steps") or 0.0) < 0.5

    # The pages need nothing but these files.
    shutil.copy(ROOT / "README.md", tmp_path)
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(program, "sources", None)
    assert program.main(["--page", "--results", str(store.parts), "--root", str(tmp_path)]) == 0
    text = (tmp_path / "docs" / "results.md").read_text()
    right = int(one.correct("array").sum())  # type: ignore[union-attr]
    assert f"| {DIGITS} | 40 | " in text and f"| {100 * right / 40:.2f} % (" in text
    assert "| resnet20 | not measured yet: `resnet20-reference` |" in text
    assert f"1 of {len(PARTS)}" in text and "norsim eval-network --network digits-cnn" in text
    assert f"| {DIGITS} | 40 | " in (tmp_path / "README.md").read_text()
    assert (tmp_path / "docs" / "pictures" / "accuracy.svg").stat().st_size > 5000


def test_packed_answers_are_unpacked() -> None:
    right = np.arange(37) % 3 == 0
    assert np.array_equal(unpacked(packed(right), 37), right)


def test_every_table_has_equal_columns_and_every_part_a_place(tmp_path: Path) -> None:
    """All parts are missing, or all are there with results of the form that commands write."""
    found = {part.name: {**CONTENT, "commands": part.shown(), "result": result_of(part)} for part in PARTS}
    for some in ({}, found):
        for text in (page.page(some), read_chain.page(some), readme.sentences(some)):
            for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
                assert len({line.count("|") for line in table.splitlines()}) == 1, table
        both = page.page(some) + read_chain.page(some)
        assert all(part.row in ("reference", "proof", "time") or part.name in both for part in PARTS)
        assert ("not measured yet" in both) == (not some)
    figures.draw({name: content for name, content in found.items() if name.startswith(DIGITS)}, tmp_path)
    assert len(list(tmp_path.glob("*.svg"))) == 4
    ranks = [line.split(" | ")[1] for line in read_chain.page(found).splitlines() if line.startswith("| digits-cnn")]
    assert ranks == ["straps", "sensing", "cell", "all together"]


CONTENT = {"inputs": {"physics": "0" * 64}, "made": {"machine": "one", "minutes": 1.0}}


def result_of(part: Part) -> dict[str, Any]:
    """Return a result of the form that the part's command writes."""
    images = part.images or 30

    def points(value: float) -> dict[str, Any]:
        return {"points": value, "ci95": [value - 1, value + 1]}

    def nats(value: float) -> dict[str, Any]:
        return {"nats": value, "ci95": [value - 0.01, value + 0.01]}

    if part.command == "attribute":
        shares = [
            {"name": name, "alone": points(1), "without": points(2), "shapley": points(3), "cross_entropy": nats(rise)}
            for name, rise in (("cell", 0.1), ("straps", 0.3), ("sensing", 0.2))
        ]
        return {
            "images": images, "shares": shares, "array": points(9), "array_cross_entropy": nats(0.6), "base": points(0),
            "quantization": points(1), "verdict": "adds up", "margin_points": 1.0, "remainder": points(0),
        }  # fmt: skip
    if part.command == "sweep":
        at = [{"adc.bits": str(bits), "accuracy": 0.9, "low": 0.8, "high": 0.95, "sigma": None} for bits in (3, 4)]
        return {"images": images, "trials": 1, "keys": ["adc.bits"], "points": at, "accuracy_quantized": 0.9}
    if part.row == "time":
        return {"images": images, "float_seconds": 1.0, "seconds": 9.0, "ratio": 9.0, "peak_gib": 1.0}
    error = {"max_error_steps": 0.1, "max_error_full_scale": 1e-5}
    proof = {**error, "samples": 59, "worse_fraction_95": 0.05, "adc_mismatch_fraction": 0.01}
    costs = {"joules_image": 1e-6, "joules": dict.fromkeys(page.silicon.PARTS_SHOWN, 1e-7), "tops_per_watt": 7.0,
             "latency_seconds": 1e-3, "square_metres": 5e-6}  # fmt: skip
    judged = {f"metric{name}": 0.9 for name in ("_float", "_quantized", "_value", "_change_quantized")}
    spans = {f"metric{name}_ci95": [0.8, 1.0] for name in ("", "_float", "_quantized", "_change_quantized")}
    right = {name: packed(np.arange(images) % 9 > 0) for name in ("float", "quantized", "array")}
    return {
        "images": images, "first": part.skipped, "correct": right, "encoding": "bit-serial", "metric": "accuracy",
        "verification": {**proof, "tiles": error, "passes": {**error, "reads": 12}}, **judged, **spans,
        "end_to_end": {
            "changed": 1, "images": images, "changed_ci95": [0.0, 0.01], "accuracy_difference": 0.0,
            "accuracy_difference_ci95": [-0.01, 0.01],
        },
        "energy": {"macs_image": 4e7, "chip": costs},
    }  # fmt: skip


def test_a_chip_takes_the_settings_of_the_read_chain() -> None:
    chip = load_chip("etox65", tuple(CHAIN))
    assert chip.wires.has_strap_metal and chip.sensing.has_offset and chip.converters.noise


def texts_in(content: Any) -> Iterator[str]:
    """Yield the texts of parts' files that are no keys, but for the images that are right, which are bits."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list):
        for name, one in content.items() if isinstance(content, dict) else enumerate(content):
            if name != "correct":
                yield from texts_in(one)


def test_the_pages_are_what_the_command_writes_from_the_files_of_parts() -> None:
    store = Store()
    found = {path.stem: json.loads(path.read_text()) for path in sorted(store.parts.glob("*.json"))}
    assert set(found) <= {part.name for part in PARTS}
    # Nothing in them is a path of the machine that measured them.
    assert [text for text in texts_in(found) if any(word.startswith("/") for word in text.split())] == []
    assert (ROOT / "docs" / "results.md").read_text() == page.page(found)
    assert (ROOT / "docs" / "read-chain.md").read_text() == read_chain.page(found)
    assert readme.sentences(found) in (ROOT / "README.md").read_text()
