"""The benchmark of GPUs runs on CPU tensors, and its second step without most of what norsim needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, page

ROOT = Path(gpu.__file__).parents[1]
# Refuses what the second step does not need.
BARE = """
import sys

class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("scipy", "pydantic", "yaml", "click", "PySpice", "pint"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Bare())
from benchmarks import gpu
sys.exit(gpu.main(sys.argv[1:]))
"""


def test_a_prepared_file_is_measured_without_most_of_what_norsim_needs(tmp_path: Path) -> None:
    file, out = tmp_path / "prepared.pt", tmp_path / "result.json"
    small = ["--set", "calibration.images=16", "--set", "calibration.reads=16"]
    of_network = ["--network", "digits-cnn", "--images", "30", "--checked", "20"]
    gpu.main(["prepare", str(file), "--tile", "32", "18", "--vectors", "24", *of_network, *small])
    options = ["--device", "cpu", "--vectors", "64", "--batch", "16", "--repeats", "1"]
    options += ["--train-images", "128", "--train-width", "0.0625"]
    command = [sys.executable, "-c", BARE, "measure", str(file), "--out", str(out), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    tile, network = found["tile"], found["network"]
    assert found["card"] == "no GPU" and tile["compiled_problem"] == "no GPU"
    assert tile["tile"] == "32x18" and tile["vectors"] == 64
    assert 0 < tile["max_error_full_scale"] < 1e-6 < tile["max_error_of_nodal_full_scale"] < 1e-4
    assert tile["codes"] == 24 * 4 * 16 and tile["codes_that_differ"] <= 2
    assert min(tile[key] for key in ("lines_us_vector", "read_us_vector", "lines_over_matmul", "products_seconds")) > 0
    assert found["nodal"]["converged"] and found["nodal"]["repeats_bit_for_bit"] and found["nodal"]["us_vector"] > 0
    assert 0 < found["nodal"]["max_error"] < 1e-8
    assert tile["repeats_bit_for_bit"] and network["repeats_bit_for_bit"]
    assert network["images"] == 30 and network["classes"] == 20 and network["classes_that_differ"] <= 1
    training = found["training"]
    assert (training["network"], training["width"], training["batch"]) == ("resnet18", 0.0625, 128)
    assert min(training["float_epoch_seconds"], training["quantized_epoch_seconds"]) > 0
    rows = "\n".join(page.gpu_section(out))
    assert f"no GPU, {found['date']}, torch {found['torch']}." in rows and "| not measured |" in rows
    for part, key, name, unit, _ in page.GPU_ROWS:
        if found[part][key] is not None:
            assert f"| {name} | {page._value(found[part][key], unit)} |" in rows
    assert rows.count("| met |") + rows.count("| not met |") == sum(row[4] is not None for row in page.GPU_ROWS)
    assert network["accuracy"] > 0.8 and network["over_plain"] > 1 and network["images_per_second"] > 0


def test_another_file_is_refused(tmp_path: Path) -> None:
    torch.save({"kind": "other"}, tmp_path / "other.pt")
    with pytest.raises(SystemExit, match="prepare it again"):
        gpu.main(["measure", str(tmp_path / "other.pt"), "--out", str(tmp_path / "x"), "--device", "cpu"])


def test_the_page_has_the_last_figures_or_says_that_there_are_none(tmp_path: Path) -> None:
    assert "\n\n" + "\n".join(page.gpu_section(page.GPU)) in page.PAGE.read_text()
    absent = list(page.gpu_section(tmp_path / "none.json"))
    assert sum("| no GPU |" in line for line in absent) == len(page.GPU_ROWS)
