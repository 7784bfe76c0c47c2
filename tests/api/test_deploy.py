"""`norsim.deploy` and what a deployed network answers: the calls of the documentation, each with its result checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import norsim
from norsim.evaluation.proof.defaults import SPICE_SAMPLE
from tests.api.conftest import SETTINGS, Split, deployed
from tests.api.networks import InDict, InTuple, trained

# Workers of a DataLoader are forked from a process with threads, of which newer Pythons warn.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
BATCH = 100


def loader(split: Split) -> DataLoader[Any]:
    """Batches from two worker processes."""
    data = TensorDataset(*split.pair)
    return DataLoader(data, batch_size=BATCH, num_workers=2, multiprocessing_context="fork")


def share_right(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).double().mean())


@pytest.mark.slow
def test_the_calls_of_the_documentation(model: nn.Module, train_set: Split, test_set: Split, tmp_path: Path) -> None:
    """Each line with its result, on data from a loader with workers."""
    (x, y), test = test_set.pair, loader(test_set)
    net = norsim.deploy(model, "etox65", calibration=loader(train_set), set={"adc.bits": 9}, digital=["fc"],
                        weight_bits=4, activation_bits=4, encoding=None, seed=0)  # fmt: skip
    assert net.calibrated and net.chip.adc_bits == 9 and net.chip.name == "etox65"
    assert list(net.tiled) == ["conv", "body.3"]
    assert net.digital == {"body.0": "ReLU", "body.1": "BatchNorm2d", "body.2": "Flatten", "body.4": "ReLU",
                           "fc": "Linear"}  # fmt: skip
    logits = net(x)
    integers, floats = net.quantized(x), net.original(x)
    assert logits.shape == (60, 10) and logits.dtype == torch.float32
    scale = float(integers.abs().max())
    assert 0 < float((logits - integers).abs().max()) < 0.2 * scale
    quantized = norsim.quantize(model, loader(train_set), 4, 4, digital=["fc"])
    with torch.no_grad():
        torch.testing.assert_close(integers, quantized(x), rtol=0, atol=1e-4 * scale)
        assert torch.equal(floats, model(x))
    net.backend = "nodal"
    assert net.backend == "nodal"
    # A current at the edge of a code may change an image or two.
    assert ((net(x) - logits).abs() <= 1e-3 * scale).all(dim=1).float().mean() >= 0.95
    net.backend = "macro"
    result = net.evaluate(test, metric=None)
    assert np.array_equal(result.predictions, logits.argmax(1)) and np.array_equal(result.labels, y)
    assert result.accuracy == share_right(logits, y) > 0.8
    assert result.accuracy_quantized == share_right(integers, y)
    assert result.accuracy_float == share_right(floats, y)
    assert result.drop_points == pytest.approx(100 * (share_right(floats, y) - result.accuracy))
    assert result.accuracy_ci95 is not None and result.accuracy_ci95[0] < result.accuracy < result.accuracy_ci95[1]
    assert result.images == 60 and result.backend == "macro" and result.encoding == "bit-serial"
    assert result.verification.samples == SPICE_SAMPLE and result.verification.witness == "ngspice"
    assert 0 < (result.verification.max_error_full_scale or 0) < 1e-4
    path = norsim.write_report(result, str(tmp_path / "out/"))
    assert path == tmp_path / "out" / "report.html"
    assert f"{100 * result.accuracy:.2f} %" in path.read_text()
    again = norsim.load_deployed(str(net.save(str(tmp_path / "folder"))))
    assert torch.equal(again(x), logits)


def batches(split: Split) -> list[tuple[Tensor, Tensor]]:
    return list(zip(split.x.split(BATCH), split.y.split(BATCH), strict=True))


class Stream(IterableDataset[Any]):
    """A data set without a length."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __iter__(self) -> Iterator[Any]:
        return zip(*self.split.pair, strict=True)


LABELLED = {
    "loader with workers": loader,
    "torch data set": lambda split: TensorDataset(*split.pair),
    "stream": Stream,
    "pair of tensors": lambda split: split.pair,
    "pair of arrays": lambda split: (split.x.numpy(), split.y.numpy()),
    "norsim data set": lambda split: split.data,
    "list of batches": batches,
    "generator": lambda split: iter(batches(split)),
}
UNLABELLED = {
    "tensor": lambda split: split.x,
    "list of inputs": lambda split: list(split.x.split(BATCH)),
    "generator of inputs": lambda split: iter(split.x.split(BATCH)),
    "inputs in tuples": lambda split: [(some,) for some in split.x.split(BATCH)],
}


@pytest.mark.parametrize("kind", [*LABELLED, *UNLABELLED])
def test_calibration_takes_every_kind_of_data(
    net: norsim.DeployedNetwork, model: nn.Module, train_set: Split, test_set: Split, kind: str
) -> None:
    """In equal batches, all give the same codes and the same fit."""
    data = {**LABELLED, **UNLABELLED}[kind](train_set)
    assert torch.equal(deployed(model, train_set, calibration=data)(test_set.x), net(test_set.x))


@pytest.mark.parametrize("kind", LABELLED)
def test_every_function_takes_every_kind_of_data(
    net: norsim.DeployedNetwork, model: nn.Module, train_set: Split, test_set: Split, kind: str
) -> None:
    """The steps of deploy, and evaluate, give the answers of the deployed network."""
    data = LABELLED[kind]
    quantized = norsim.quantize(model, data(train_set), digital=["fc"])
    analog = norsim.convert(quantized, norsim.load_chip("etox65", SETTINGS))
    norsim.calibrate(analog, data(train_set))
    found = norsim.evaluate(analog, data(test_set), spice_sample=0)
    assert found.dataset == ("digits" if kind == "norsim data set" else "")
    assert np.array_equal(found.predictions, net(test_set.x).argmax(1))
    assert torch.equal(analog(test_set.x), net(test_set.x))
    operations = norsim.digital_operations(analog, data(test_set))
    assert operations == {} and norsim.digital_modules(analog) == net.digital


def test_scores_may_be_in_a_dict_or_a_tuple(
    net: norsim.DeployedNetwork, model: nn.Module, train_set: Split, test_set: Split
) -> None:
    x, y = test_set.pair
    wrapped = InDict(), InTuple()
    for other in wrapped:
        other.load_state_dict(model.state_dict())
    in_dict, in_tuple = (deployed(other, train_set) for other in wrapped)
    assert list(in_dict(x)) == ["logits", "mean"] and torch.equal(in_dict(x)["logits"], net(x))
    assert in_tuple(x)[1] is None and torch.equal(in_tuple(x)[0], net(x))
    expected = net.evaluate((x, y), spice_sample=0)
    for other in (in_dict, in_tuple):
        found = other.evaluate((x, y), spice_sample=0)
        assert np.array_equal(found.predictions, expected.predictions)
        assert (found.accuracy, found.accuracy_quantized, found.accuracy_float) == (
            expected.accuracy, expected.accuracy_quantized, expected.accuracy_float
        )  # fmt: skip
    seen: list[Any] = []

    def mean_of_largest(outputs: dict[str, Tensor], targets: Tensor) -> float:
        seen.append((outputs, targets))
        return float(outputs["logits"].max(dim=1).values.mean())

    found = in_dict.evaluate((x, y), mean_of_largest, spice_sample=0)
    assert found.metric == "mean_of_largest"
    assert found.metric_value == pytest.approx(float(net(x).max(dim=1).values.mean()))
    # Classes are known besides, since one of the outputs is scores and the targets are labels.
    assert found.accuracy == share_right(net(x), y)
    assert torch.equal(seen[0][0]["logits"], net(x)) and torch.equal(seen[0][0]["mean"], x.mean(dim=(1, 2, 3)))
    assert all(torch.equal(targets, y) for _, targets in seen[:3])


@pytest.fixture(scope="module")
def curve() -> tuple[nn.Module, Tensor, Tensor]:
    """A trained regression network from `[n, 2]` to `[n, 1]`, with inputs and targets."""
    torch.manual_seed(0)
    x = torch.rand(400, 2)
    y = torch.sin(3 * x[:, :1]) * x[:, 1:]
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
    return trained(model, x, y, functional.mse_loss, steps=300), x, y


def mse(outputs: Tensor, targets: Tensor) -> float:
    return float(functional.mse_loss(outputs, targets))


def test_a_regression_is_judged_by_a_metric(curve: tuple[nn.Module, Tensor, Tensor], tmp_path: Path) -> None:
    model, x, y = curve
    net = norsim.deploy(model, calibration=x, weight_bits=4, activation_bits=4)
    found = net.evaluate([(x[:50], y[:50]), (x[50:80], y[50:80])], mse)
    assert torch.equal(found.predictions, torch.cat([net(x[:50]), net(x[50:80])])) and torch.equal(found.labels, y[:80])
    assert found.metric_value == mse(net(x[:80]), y[:80])
    assert found.metric_quantized == mse(net.quantized(x[:80]), y[:80])
    assert found.metric_float == mse(net.original(x[:80]), y[:80])
    assert found.metric_float < found.metric_value and abs(found.metric_value - found.metric_quantized) < 0.01
    assert found.metric_ci95 is not None and found.metric_ci95[0] < found.metric_value < found.metric_ci95[1]
    # The change is paired by input, so it is known better than the values themselves.
    change, ends = found.metric_change_float, found.metric_change_float_ci95
    assert change == found.metric_value - found.metric_float and ends is not None and ends[0] < change < ends[1]
    assert found.end_to_end is not None and found.end_to_end.changed is found.end_to_end.predictions is None
    assert abs(found.end_to_end.metric_difference or 1) < 1e-4
    assert mse(net(x[:80]), net.quantized(x[:80])) < 0.01 * float(y.var())
    assert (found.metric, found.images, found.accuracy, found.drop_points) == ("mse", 80, None, None)
    assert 0 < (found.verification.max_error_full_scale or 0) < 1e-4
    page = norsim.write_report(found, tmp_path).read_text()
    assert f"mse of Sequential is {found.metric_value:.4g} on 80 test inputs" in page
    assert f"{100 * found.metric_value:.2f} %" not in page and "paired by image" in page


def test_names_are_kept_and_layers_can_be_called(
    net: norsim.DeployedNetwork, model: nn.Module, test_set: Split
) -> None:
    assert [name for name, _ in net.named_modules()] == [name for name, _ in model.named_modules()]
    assert next(net.named_children())[0] == "conv" and net.get_submodule("body.3") is net.tiled["body.3"]
    assert set(net.state_dict()) == {
        "conv._extra_state", "body.3._extra_state", "fc.weight", "fc.bias", "body.1.weight", "body.1.bias",
        "body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked",
    }  # fmt: skip
    x = test_set.x
    assert torch.equal(net.fc(net.body(net.conv(x))), net(x))
    text = repr(net)
    assert "chip=etox65, encoding=bit-serial, backend=macro" in text and "(conv): TiledConv2d" in text


def test_digital_layers_stay_as_they_are_and_a_pattern_without_a_layer_is_refused(
    net: norsim.DeployedNetwork, model: nn.Module, train_set: Split, test_set: Split
) -> None:
    x = test_set.x
    hidden = net.body(net.conv(x))
    with torch.no_grad():
        assert type(net.fc) is nn.Linear and torch.equal(net.fc(hidden), model.get_submodule("fc")(hidden))
        assert torch.equal(net(x), net.fc(hidden)) and not torch.equal(net.quantized(x), model(x))
    assert [row["name"] for row in net.evaluate(test_set.pair, spice_sample=0).layers] == ["conv", "body.3"]
    assert type(norsim.quantize(model, train_set.pair, digital=["fc"]).get_submodule("fc")) is nn.Linear
    both = deployed(model, train_set, digital="body")
    assert both.digital["body.3"] == "Linear" and "fc" not in both.digital
    assert list(both.tiled) == ["conv", "fc"]
    norms = [next(part for part in one.modules() if isinstance(part, nn.BatchNorm2d)) for one in (both, model)]
    assert torch.equal(*(norm.running_var for norm in norms))
    with pytest.raises(
        norsim.ConfigurationError,
        match=r"'fcc' matches no module with weights; did you mean 'fc'\? Known: conv, body, body.3, fc",
    ):
        deployed(model, train_set, digital=["conv", "fcc"])


def test_widths_and_encoding_are_those_that_were_asked_for(model: nn.Module, train_set: Split, test_set: Split) -> None:
    net = deployed(model, train_set, encoding="linear-pair", weight_bits=3, activation_bits=2, seed=5, digital=())
    assert net.chip.encoding.name == "linear-pair" and net.chip.draw.seed == 5
    assert {(one.grid.layer.weight_bits, one.grid.layer.input_bits) for one in net.tiled.values()} == {(3, 2)}
    found = net.evaluate(test_set.pair, spice_sample=2)
    assert found.encoding == "linear-pair" and found.seed == 5 and (found.verification.max_error_full_scale or 1) < 1e-4
    chip = norsim.load_chip("etox65", SETTINGS)
    as_object = norsim.deploy(model, chip, calibration=train_set.pair, digital=["fc"])
    assert torch.equal(as_object(test_set.x), deployed(model, train_set)(test_set.x))


class Parts(nn.Module):
    """A network for the parts of a vector, in a dict."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))

    def forward(self, low: Tensor, high: Tensor | None = None) -> Tensor:
        found: Tensor = self.net(low if high is None else torch.cat([low, high], 1))
        return found


def test_several_inputs_are_attributed_and_learned_from_as_one() -> None:
    x, y = torch.rand(40, 6, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    found = []
    for inputs in (lambda some: some, lambda some: {"low": some[:, :2], "high": some[:, 2:]}):
        data = [(inputs(x[:20]), y[:20]), (inputs(x[20:]), y[20:])]
        net = norsim.deploy(Parts(), calibration=data, set={"calibration.reads": 16}, weight_bits=2)
        losses = net.attribute(data, by="layers").shares
        net.finetune(data, steps=2, refresh=1, batch_size=8)
        layers = [layer.grid.layer for layer in net.tiled.values()]
        found.append((losses, [(one.weights.tolist(), np.asarray(one.bias).tolist()) for one in layers]))
    assert found[0] == found[1]
    assert found[0][1][1][1] != Parts().get_parameter("net.2.bias").tolist()


def test_integers_need_no_calibration() -> None:
    x = torch.rand(20, 4)
    net = norsim.deploy(nn.Linear(4, 3), calibration=x, backend="ideal")
    assert torch.equal(net(x), net.quantized(x)) and not net.calibrated
    assert net.evaluate((x, torch.zeros(20, dtype=torch.int64))).backend == "ideal"
    net.backend = "macro"
    with pytest.raises(norsim.ConfigurationError, match="is not calibrated"):
        net(x)
    assert torch.allclose(net.calibrate()(x), net.quantized(x), atol=0.1)
