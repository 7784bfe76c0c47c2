"""A deployed network as a module: its state, copies, folders and types, and what it leaves alone."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import norsim
from norsim.tiling.modules import tiled_layers
from norsim.tiling.on_device.reading import TensorPath
from tests.api.conftest import SETTINGS, Split, deployed

ROOT = Path(__file__).resolve().parents[2]


def converted(model: nn.Module, train_set: Split, **settings: object) -> nn.Module:
    """The network on the same chip, neither programmed nor calibrated."""
    chip = norsim.load_chip("etox65", {**SETTINGS, **settings})
    return norsim.convert(norsim.quantize(model, train_set.pair, digital=["fc"]), chip)


@pytest.mark.parametrize("file", [False, True])
def test_a_state_dict_has_the_fit(
    net: norsim.DeployedNetwork, model: nn.Module, train_set: Split, test_set: Split, tmp_path: Path, file: bool
) -> None:
    """In memory and in a safetensors file; the fresh network needs no calibration data."""
    state = net.state_dict()
    if file:
        save_file(state, tmp_path / "net.safetensors")
        state = load_file(tmp_path / "net.safetensors")
    fresh = converted(model, train_set)
    with pytest.raises(norsim.ConfigurationError, match="no backend reads it yet: call norsim.calibrate"):
        fresh(test_set.x)
    norsim.program(fresh)
    with pytest.raises(norsim.ConfigurationError, match="'conv' is not calibrated.*load a state_dict"):
        fresh(test_set.x)
    fresh.load_state_dict(state)
    norsim.program(fresh)
    assert torch.equal(fresh(test_set.x), net(test_set.x))
    other = deployed(model, train_set, seed=3)
    other.load_state_dict(state)
    assert torch.equal(other(test_set.x), net(test_set.x))


def test_a_fit_goes_to_no_other_chip(net: norsim.DeployedNetwork, model: nn.Module, train_set: Split) -> None:
    with pytest.raises(norsim.ConfigurationError, match="the state_dict belongs to a network on another chip"):
        converted(model, train_set, **{"tile.wordlines": 8}).load_state_dict(net.state_dict())
    empty = converted(model, train_set).state_dict()
    assert not len(empty["conv._extra_state"]) and len(net.state_dict()["conv._extra_state"])


LOAD = """
import json, sys, torch, norsim
net = norsim.load_deployed(sys.argv[1])
x = torch.load(sys.argv[2])
print(json.dumps([net.backend, net(x).tolist(), net.original(x).tolist()]))
"""


@pytest.mark.slow
def test_a_saved_network_answers_the_same_in_a_new_process(
    model: nn.Module, train_set: Split, test_set: Split, tmp_path: Path
) -> None:
    net, x = deployed(model, train_set, seed=2), test_set.x[:20]
    net.backend = "nodal"
    folder = net.save(tmp_path / "net")
    torch.save(x, tmp_path / "x.pt")
    about = json.loads((folder / "network.json").read_text())
    assert about["layers"] == ["conv", "body.3"] and about["digital"] == ["fc"] and about["seed"] == 2
    words = [sys.executable, "-c", LOAD, str(folder), str(tmp_path / "x.pt")]
    found = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert found.returncode == 0, found.stderr
    backend, logits, floats = json.loads(found.stdout)
    assert backend == "nodal"
    assert torch.equal(torch.tensor(logits), net(x)) and torch.equal(torch.tensor(floats), net.original(x))


def test_a_loaded_network_can_do_everything(net: norsim.DeployedNetwork, test_set: Split, tmp_path: Path) -> None:
    again, pair = norsim.load_deployed(net.save(tmp_path)), test_set.pair
    assert again.digital == net.digital and again.chip == net.chip
    one, other = (some.evaluate(pair, spice_sample=2) for some in (net, again))
    assert one.summary() | {"seconds": 0} == other.summary() | {"seconds": 0}
    assert again.sweep(pair, {"adc.bits": [9]}, spice_sample=0).points[0].accuracy == one.accuracy
    assert torch.equal(again.calibrate()(test_set.x), net(test_set.x))


def test_a_network_that_was_saved_before_weights_had_slices_is_read(
    net: norsim.DeployedNetwork, test_set: Split, tmp_path: Path
) -> None:
    """Its chip had the key `bit_serial.zero_point`, and its encoding the fields of that time."""
    expected, path = net(test_set.x), net.save(tmp_path) / "network.pt"
    saved = torch.load(path, weights_only=False)
    choice = saved["deployment"].choice
    choice.content["bit_serial"]["zero_point"] = choice.content.pop("mapping")["scheme"]
    fields = vars(choice.chip.encoding)
    for name, before in (("scheme", "zero_point"), ("cell_bits", "weight_bits")):
        fields[before] = fields.pop(name)
    del fields["slices"], fields["strap_every"]
    torch.save(saved, path)
    again = norsim.load_deployed(tmp_path)
    assert torch.equal(again(test_set.x), expected)
    finer = again.parts.deployment.with_settings({"adc.bits": 10}).choice.chip
    assert finer.encoding == net.chip.encoding and finer.adc_bits == 10


def test_copies_are_networks_of_their_own(net: norsim.DeployedNetwork, test_set: Split) -> None:
    x, logits = test_set.x, net(test_set.x)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert isinstance(other, norsim.DeployedNetwork) and torch.equal(other(x), logits)
        other.backend = "ideal"
        with torch.no_grad():
            other.body[1].weight.zero_()
        assert not torch.equal(other(x), logits)
    assert net.backend == "macro" and torch.equal(net(x), logits)


def test_it_is_for_inference(net: norsim.DeployedNetwork, model: nn.Module, test_set: Split) -> None:
    x = test_set.x.clone().requires_grad_(True)
    assert torch.is_grad_enabled()
    for answers in (net(x), net.quantized(x), net.original(x)):
        assert not answers.requires_grad
    assert net.eval() is net and net.train(False) is net and not any(part.training for part in net.modules())
    with pytest.raises(norsim.ConfigurationError, match="no training mode, .*net.finetune"):
        net.train()
    assert not net.training


def test_the_model_stays_as_it_is(model: nn.Module, train_set: Split, test_set: Split) -> None:
    """Also one in training mode, whose batch norms would otherwise follow the calibration data."""
    model = copy.deepcopy(model).train()
    before = copy.deepcopy(model.state_dict())
    net = deployed(model, train_set)
    net.evaluate(test_set.pair, spice_sample=0)
    norsim.evaluate(net, test_set.pair, spice_sample=0, original=model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training and all(part.training for part in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    with torch.no_grad():
        model.fc.weight.zero_()
    assert float(net.original(test_set.x).abs().max()) > 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_networks_of_other_types_are_converted_and_stay_so(
    net: norsim.DeployedNetwork, model: nn.Module, train_set: Split, dtype: torch.dtype
) -> None:
    converted = deployed(copy.deepcopy(model).to(dtype), train_set)
    assert {value.dtype for value in converted.parameters()} == {torch.float32}
    with pytest.raises(norsim.ConfigurationError, match=f"computes in float32, so it cannot be made {dtype}"):
        net.to(dtype)
    assert {value.dtype for value in net.parameters()} == {torch.float32}


def test_bytes_are_refused_with_a_remedy(
    net: norsim.DeployedNetwork, model: nn.Module, train_set: Split, test_set: Split
) -> None:
    """Everywhere: they would be taken for activations of 0 to 255."""
    pixels = (test_set.x * 16).byte()
    for call in (
        lambda: deployed(model, train_set, calibration=pixels),
        lambda: net.evaluate((pixels, test_set.y)),
        lambda: net(pixels),
        lambda: net.quantized(pixels),
        lambda: net.calibrate(pixels),
        lambda: net.finetune((pixels, test_set.y)),
    ):
        with pytest.raises(norsim.ConfigurationError, match=r"uint8.*for example images.float\(\) / 255"):
            call()


@pytest.mark.parametrize("layer", [nn.Linear(6, 3), nn.Conv1d(2, 3, 2)])
def test_a_single_layer_is_a_network(layer: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.rand(20, 6) if isinstance(layer, nn.Linear) else torch.rand(20, 2, 3)
    net = norsim.deploy(layer, calibration=x, set=SETTINGS)
    assert list(net.tiled) == [""] and net.digital == {} == norsim.digital_modules(net)
    torch.testing.assert_close(net(x), net.original(x), rtol=0, atol=0.1)
    net.tiled[""].path = TensorPath.of(net.tiled[""].grid, torch.device("cpu"))
    assert net.to("cpu").tiled[""].path is None
    state = net.state_dict()
    assert list(state) == ["_extra_state"] and len(state["_extra_state"]) > 5
    assert torch.equal(norsim.load_deployed(net.save(tmp_path))(x), net(x))
    expected = net(x)
    norsim.calibrate(net, x[:4])
    assert not torch.equal(net(x), expected)
    net.load_state_dict(state)
    assert torch.equal(net(x), expected)
    assert torch.equal(nn.Sequential(net)(x), expected) and list(nn.Sequential(net).state_dict()) == ["0._extra_state"]


def test_backends_can_be_switched_at_any_time() -> None:
    """ngspice, nodal and macro read the same array; ideal computes the integers."""
    torch.manual_seed(0)
    x, model = torch.rand(30, 4), nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    net = norsim.deploy(model, calibration=x, set={"adc.bits": 4}, backend="nodal")
    answers: dict[str, Tensor] = {}
    for name in ("macro", "nodal", "ngspice", "ideal"):
        net.backend = name
        assert net.backend == name
        answers[name] = net(x[:2])
    assert torch.equal(answers["ideal"], net.quantized(x[:2]))
    scale = float(answers["ideal"].abs().max())
    for name in ("macro", "nodal"):
        torch.testing.assert_close(answers[name], answers["ngspice"], rtol=0, atol=1e-3 * scale)
        assert not torch.equal(answers[name], answers["ideal"])
    with pytest.raises(norsim.ConfigurationError, match="no backend 'hspice'; choose one of ideal, ngspice"):
        net.backend = "hspice"
    with pytest.raises(norsim.ConfigurationError, match="has no currents to calibrate with; set net.backend = 'macro'"):
        net.calibrate(x)
    assert net.backend == "ideal"


def test_a_deployed_network_is_a_converted_one(net: norsim.DeployedNetwork, test_set: Split) -> None:
    """The functions for converted networks take it too, with any backend, and leave it as it was."""
    x = test_set.x[:10]
    found = norsim.evaluate(net, (x, test_set.y[:10]), "nodal", metric=lambda outputs, _: float(outputs.sum()))
    other = copy.deepcopy(net)
    other.backend = "nodal"
    assert torch.equal(found.predictions, other(x)) and torch.equal(found.predictions_quantized, net.quantized(x))
    assert found.backend == "nodal" and net.backend == "macro"
    assert norsim.digital_operations(net, x) == {} and norsim.digital_modules(net) == net.digital
    assert list(tiled_layers(net)) == list(net.tiled)


@pytest.mark.parametrize("noise", [{"adc.noise": 1.0}, {"silicon.reading": {"scale": "50 nA", "knee": "100 nA"}}])
def test_noise_is_drawn_again_for_each_call(
    model: nn.Module, train_set: Split, test_set: Split, noise: dict[str, Any]
) -> None:  # fmt: skip
    """The first call draws what an evaluation does."""
    noisy = deployed(model, train_set, set={**SETTINGS, **noise})
    twin = copy.deepcopy(noisy)
    found = noisy.evaluate(test_set.pair, lambda outputs, _: float(outputs.mean()), spice_sample=0)
    first, second = noisy(test_set.x), noisy(test_set.x)
    assert torch.equal(first, found.predictions) and not torch.equal(first, second)
    assert torch.equal(twin(test_set.x), first) and torch.equal(twin(test_set.x), second)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_moves_to_a_device(model: nn.Module, train_set: Split, test_set: Split, tmp_path: Path) -> None:
    net = deployed(model, train_set)
    expected, result = net(test_set.x), net.evaluate(test_set.pair, spice_sample=0)
    assert net.to("cuda") is net and next(net.parameters()).device.type == "cuda"
    torch.testing.assert_close(net(test_set.x.cuda()).cpu(), expected, rtol=1e-3, atol=1e-3)
    assert net.evaluate(test_set.pair, spice_sample=0).images == result.images
    assert torch.equal(norsim.load_deployed(net.save(tmp_path))(test_set.x), expected)
    deployed(copy.deepcopy(model).cuda(), train_set).finetune(train_set.pair, steps=1)
