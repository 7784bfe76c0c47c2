"""The page: reproducible, complete, self-contained, and safe with unusual names."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import norsim
from norsim import report
from norsim.chip.model import Chip
from norsim.commands.run import report as report_command
from norsim.data import Dataset, load
from norsim.data.tensors import images_tensor
from norsim.errors import ConfigurationError, WriteError
from norsim.experiments.run_record import Origin
from norsim.report.connections import Connections, connections
from norsim.report.figures.svg import INK, drawing, figure
from norsim.report.page import MOST_RUNS, attribute_command
from norsim.report.settings import differing, flat
from norsim.tiling.modules import tiled_layers
from tests.conftest import contents
from tests.report.conftest import command_line


class Elements(HTMLParser):
    """A parser that collects all elements with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def page(macro_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.write([macro_run], tmp_path_factory.mktemp("report"))


def test_numbers_of_the_page_are_those_of_the_summary(page: Path, macro_run: Path) -> None:
    summary = json.loads((macro_run / "summary.json").read_text())
    known = {**summary, **summary["verification"], **summary["energy"]}
    shown = [attributes for _, attributes in Elements(page.read_text()).found if "data-value" in attributes]
    found = {str(part["data-key"]): float(str(part["data-value"])) for part in shown}
    for key in ("accuracy", "accuracy_float", "accuracy_quantized", "max_error_full_scale", "joules_image"):
        assert found[key] == known[key]
    assert found["drop_points"] == pytest.approx(known["drop_points"])
    chip = known["energy"]["chip"]
    assert (found["chip_joules_image"], found["square_metres"]) == (chip["joules_image"], chip["square_metres"])
    for part in {*chip["joules"], *chip["areas"]}:
        assert f"<tr><td>{part}</td>" in page.read_text()


def test_the_same_run_gives_the_same_bytes(page: Path, macro_run: Path, tmp_path: Path) -> None:
    report.write([macro_run], tmp_path)
    names, again = (
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        for folder in (page.parent, tmp_path)
    )
    assert names == again and len(names) > 9
    for name in names:
        assert (page.parent / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_page_loads_nothing_and_its_figures_are_also_files(page: Path) -> None:
    text = page.read_text()
    elements = Elements(text)
    links = [
        value for _, attributes in elements.found for name, value in attributes.items()
        if name in ("src", "href", "xlink:href") and value
    ]  # fmt: skip
    assert links and all(link.startswith(("data:", "#")) for link in links)
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    allowed = f"script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
    (policy,) = (part["content"] for part in elements.all("meta") if "http-equiv" in part)
    assert policy and policy.startswith("default-src 'none';") and allowed in policy
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#network-")} <= set(ids)
    shown = {attributes["data-figure"] for attributes in elements.all("figure")}
    assert shown == {path.stem for path in page.parent.glob("figures/*.svg")}
    drawn = [attributes for attributes in elements.all("svg") if attributes.get("role") == "img"]
    assert len(drawn) == len(shown) and all(attributes["aria-label"] for attributes in drawn)
    assert all(attributes["alt"] for attributes in elements.all("img"))
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))


def test_unusual_names_are_escaped(macro_run: Path, tmp_path: Path) -> None:
    odd = tmp_path / "<b onload='x'>&\"$run"
    shutil.copytree(macro_run, odd, ignore=shutil.ignore_patterns("units"))
    manifest = json.loads((odd / "manifest.json").read_text())
    manifest["command"] += ["<script>alert(1)</script>", "{{ 7 * 6 }}"]
    (odd / "manifest.json").write_text(json.dumps(manifest))
    text = report.write([odd], tmp_path / "out").read_text()
    elements = Elements(text)
    assert len(elements.all("script")) == 1 and not any("onload" in attributes for _, attributes in elements.found)
    without_tags = re.sub(r"</?span[^>]*>", "", text)
    assert "&lt;script&gt;alert(1)" in text and "{{ 7 * 6 }}" in without_tags and "$run" in text


def test_figures_adapt_to_light_and_dark_and_accept_any_name() -> None:
    def draw() -> str:
        with figure(3, 2) as drawn:
            panel = drawn.subplots()
            panel.plot([1, 2], [1, 2], label="a$b$ <c>")
            panel.legend()
            return drawing("one", 'says "<&>"', drawn).svg

    text = draw()
    assert text == draw()
    assert "currentColor" in text and INK not in text and "prefers-color-scheme:dark" in text
    assert "a$b$ &lt;c&gt;" in text and 'aria-label="says &#34;&lt;&amp;&gt;&#34;"' in text
    assert "<dc:date>" not in text


def test_a_run_without_images_or_network_still_has_a_page(macro_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(macro_run, run, ignore=shutil.ignore_patterns("units"))
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "network": str(tmp_path / "gone")}))
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["options"]["dataset"] = str(tmp_path / "gone.npz")
    (run / "manifest.json").write_text(json.dumps(manifest))
    text = report.write([run], tmp_path / "out").read_text()
    assert "The images are not available" in text and "The run&#39;s network cannot be read" in text
    assert "Confusion matrix" in text


def test_a_run_of_attribute_alone_has_a_page(macro_run: Path, tmp_path: Path) -> None:
    text = report.write([macro_run.parent / "layers"], tmp_path / "out").read_text()
    assert "By layers, on 20 images" in text and "keeps no reads" in text
    shown = {attributes["data-figure"] for attributes in Elements(text).all("figure")}
    assert shown == {path.stem for path in (tmp_path / "out" / "figures").glob("*.svg")}
    summary = json.loads((macro_run.parent / "layers" / "summary.json").read_text())
    assert f'data-verdict="{summary["verdict"]}"' in text and "Shapley values by layers" in text
    assert all(f"{share['cross_entropy']['nats']:.4f}" in text for share in summary["shares"])
    with pytest.raises(ConfigurationError, match="no run of eval-network"):
        report.write([macro_run, macro_run.parent / "layers"], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_an_attribution_of_version_0_1_has_a_page_without_verdict(macro_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(macro_run.parent / "layers", run, ignore=shutil.ignore_patterns("units"))
    summary = json.loads((run / "summary.json").read_text())
    for key in ("verdict", "margin_points", "orders", "exact", "array_cross_entropy", "base_cross_entropy"):
        del summary[key]
    del summary["remainder"]["ci90"]
    shares = [{kind: share[kind] for kind in ("name", "alone", "without")} for share in summary["shares"]]
    (run / "summary.json").write_text(json.dumps({**summary, "shares": shares, "adds_up": True}))
    text = report.write([run], tmp_path / "out").read_text()
    assert "leave a remainder of" in text and "add up" not in text and "Shapley" not in text


def test_differences_of_two_runs_are_shown(macro_run: Path, stressed_run: Path, tmp_path: Path) -> None:
    page = report.write([stressed_run, macro_run], tmp_path)
    text = page.read_text()
    assert {"a-error-map.svg", "b-error-map.svg", "accuracies.svg"} <= {
        path.name for path in (tmp_path / "figures").iterdir()
    }
    assert "<mark>150 ohm</mark>" in text and "<mark>40 mV</mark>" in text
    counts = {key: int(number) for key, number in re.findall(r'data-key="(\w+)">(\d+)<', text)}
    assert sum(counts.values()) == 100 and counts["only_second"] > counts["only_first"]
    summaries = [json.loads((run / "summary.json").read_text()) for run in (stressed_run, macro_run)]
    assert counts["both"] + counts["only_first"] == round(100 * summaries[0]["accuracy"])
    assert counts["both"] + counts["only_second"] == round(100 * summaries[1]["accuracy"])
    ids = [attributes["id"] for _, attributes in Elements(text).found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_settings_are_compared_key_by_key() -> None:
    one, two = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": {}}
    assert flat(one) == {"a.b": "1", "a.c": "2", "d": "3"}
    assert [(part.key, *part.values) for part in differing(one, two)] == [
        ("a.c", "2", "4"), ("d", "3", ""), ("e", "", "{}"),
    ]  # fmt: skip
    assert [(part.key, *part.values) for part in differing(one, one, {**one, "d": 5})] == [("d", "3", "3", "5")]


def test_each_layer_has_the_loss_and_the_cost_of_its_rows(page: Path, macro_run: Path) -> None:
    elements = Elements(page.read_text())
    summary, shares = (json.loads((run / "summary.json").read_text())
                       for run in (macro_run, macro_run.parent / "layers"))  # fmt: skip
    names = [part["data-layer"] for part in elements.all("article")]
    assert names == [layer["name"] for layer in summary["layers"]]
    shown = {key: [float(str(part["data-value"])) for _, part in elements.found if part.get("data-key") == key]
             for key in ("layer_joules", "layer_points")}  # fmt: skip
    assert sum(shown["layer_joules"]) == pytest.approx(summary["energy"]["joules_image"])
    points = {share["name"]: share["shapley"]["points"] for share in shares["shares"]}
    assert shown["layer_points"] == [points[name] for name in names]
    assert MOST_RUNS == report_command.MOST_RUNS


def test_connections_follow_residual_sums_and_attention(small_chip: Callable[..., Chip]) -> None:
    """A sum joins the outputs of two layers; what a layer gets comes from the latest of those that it depends on."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.one, self.two, self.skip = (nn.Linear(8, 8) for _ in range(4))
            self.q, self.k, self.v, self.head = (nn.Linear(8, 8) for _ in range(4))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            stem = self.stem(images.flatten(1)[:, :8]).relu()
            sums = self.skip(stem) + self.two(self.one(stem).relu())
            q, k, v = (part(sums)[:, None] for part in (self.q, self.k, self.v))
            return self.head(nn.functional.scaled_dot_product_attention(q, k, v)[:, 0])

    torch.manual_seed(0)
    data = Dataset("some", "test", np.full((8, 1, 4, 4), 7, np.uint8), np.zeros(8, int), ("a",), 16, "made here")
    model = norsim.convert(norsim.quantize(Net(), [images_tensor(data)]), small_chip())
    found = connections(model, data)
    assert isinstance(found, Connections)
    assert found.order == ("stem", "skip", "one", "two", "q", "k", "v", "head")
    assert set(found.inputs) == {("input", "stem"), ("stem", "skip"), ("stem", "one"), ("one", "two"), ("two", "q"),
                                 ("two", "k"), ("two", "v"), ("v", "head")}  # fmt: skip
    assert set(found.joins) == {("skip", "two"), ("q", "v"), ("k", "v")}


def test_the_suggested_command_has_the_same_network_and_chip(
    stressed_run: Path,
) -> None:
    record = report.read_run(stressed_run)
    assert isinstance(record.origin, Origin)
    command = attribute_command(record, "causes")
    assert command is not None and command.startswith("norsim attribute --network digits-cnn --images 100")
    own = {**record.origin.manifest, "command": ["norsim", "eval-network", "--model", "nets.py:make", "--seed=3"]}
    quantized = replace(
        record, origin=replace(record.origin, manifest=own), summary={**record.summary, "network": "run/network"}
    )
    assert (
        attribute_command(quantized, "layers")
        == "norsim attribute --network run/network --seed=3 --trust-model --by layers"
    )
    for part in ("--chip etox65-stress", "--set 'silicon.drift_cell=40 mV'", "--by causes"):
        assert part in command


@pytest.mark.slow
def test_the_command_writes_to_the_run_folder_and_refuses_too_many_runs(
    spice_run: Path, macro_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line("report", spice_run) == 0
    assert (spice_run / "report.html").is_file()
    assert str(spice_run / "report.html") in "".join(capsys.readouterr().out.split())
    assert command_line("report", *[spice_run] * (MOST_RUNS + 1), "--out", tmp_path / "no") == 2
    assert "too many" in capsys.readouterr().err and not (tmp_path / "no").exists()
    (tmp_path / "file").touch()
    assert command_line("report", spice_run, "--out", tmp_path / "file" / "below") == 4
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["report.html", "accuracies.svg"])
@pytest.mark.slow
def test_a_full_disk_keeps_the_old_page(
    macro_run: Path, tmp_path: Path, full_disk: Callable[[str], None], name: str
) -> None:
    report.write([macro_run], tmp_path)
    before = contents(tmp_path)
    full_disk(name)
    with pytest.raises(WriteError, match=f"{name} cannot be written: No space left on device"):
        report.write([macro_run], tmp_path)
    assert contents(tmp_path) == before


def test_a_result_from_python_has_a_page(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    train, test = load("digits", "train"), load("digits", "test").take(12)
    images = images_tensor(train)[:32]
    settings = ("calibration.reads=8", "silicon.pulses={step: 50 mV, electron: 3 mV, most: 50}")
    analog = norsim.convert(norsim.quantize(network, [images]), norsim.load_chip("etox65", settings))
    norsim.calibrate(analog, images)
    result = norsim.evaluate(analog, test, spice_sample=1)
    text = norsim.write_report(result, tmp_path / "plain").read_text()
    assert "norsim.write_report(result, folder, data)" in text and "Codes of the" in text
    text = norsim.write_report(result, str(tmp_path / "shown"), test).read_text()
    assert f'data-key="accuracy" data-value="{result.accuracy}"' in text and "made in Python" in text
    programmed = result.summary()["programming"]
    assert programmed["high"] > 0 and programmed["low"] > 0 and programmed["most_pulses"] == 50
    (array,) = tiled_layers(analog)["1"].grid.arrays
    assert programmed["cells"] == array.tile.thresholds.size and programmed["pulses"] == array.pulsed.pulses.sum()
    for key in ("seconds", "joules"):
        assert f'data-key="programming_{key}" data-value="{programmed[key]}"' in text
    assert f"{programmed['low']} below, {programmed['high']} above" in text
    with pytest.raises(ConfigurationError, match="11 images"):
        norsim.write_report(result, tmp_path / "other", test.take(11))
