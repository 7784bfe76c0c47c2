"""`train` writes a network that `eval-network` takes, and a resumed run ends in the same file."""

from __future__ import annotations

from pathlib import Path

from tests.commands.conftest import Run

SHORT = ["--network", "digits-cnn", "--recipe", "float_epochs=2", "--recipe", "quantized_epochs=1", "-j", 1]


def test_a_trained_network_is_evaluated(norsim: Run, tmp_path: Path) -> None:
    ended = norsim("train", *SHORT, "--out", tmp_path / "net", "--json")
    assert ended.code == 0 and ended.json["accuracy_quantized"] > 0.5
    again = norsim("train", *SHORT, "--out", tmp_path / "again", "--quiet")
    assert again.code == 0 and again.err == ""
    weights = "weights.safetensors"
    assert (tmp_path / "net" / weights).read_bytes() == (tmp_path / "again" / weights).read_bytes()
    found = norsim(
        "eval-network", "--network", tmp_path / "net", "--backend", "ideal", "--out", tmp_path / "run", "--json"
    )
    assert found.json["accuracy"] == ended.json["accuracy_quantized"]
