"""Options that choose the network and its data, and whether to run the code that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from norsim.commands.shared.complete import complete_dataset, complete_network, named
from norsim.commands.shared.options import Decorated, is_set, store_in_context
from norsim.errors import ConfigurationError, suggestion
from norsim.user_code import is_code

if TYPE_CHECKING:
    from norsim.saved.float_weights import FloatSource
    from norsim.saved.post_training import DataPlace

# Those of norsim.data.photos, whose import takes long.
TRANSFORM_NAMES = ["imagenet"]
TRUST_MODEL, OWN_MODEL = "norsim.trust_model", "norsim.own_model"


def model_is_trusted() -> bool:
    """Return whether the command was given `--trust-model` or `--model`."""
    return is_set(TRUST_MODEL) or is_set(OWN_MODEL)


def trust_model_option(function: Decorated) -> Decorated:
    """Add `--trust-model`, which `model_is_trusted` reads."""
    return click.option(
        "--trust-model", is_flag=True, expose_value=False, callback=store_in_context(TRUST_MODEL),
        help="Run the Python files that a saved network names as its definition or data set.",
    )(function)  # fmt: skip


def own_network_options(function: Decorated) -> Decorated:
    """Add `--model`, `--weights`, `--mean`, `--std` and `--digital`, for commands that can quantize a float network."""
    for option in (
        click.option("--digital", multiple=True, metavar="PATTERN",
                     help="Leave the layers digital whose names, or those of modules that contain them, match PATTERN, "
                          "such as 'head' or 'layer4.*': they are neither quantized nor placed. Repeatable. In a "
                          "network that is stored quantized they compute with their codes."),
        click.option("--std", metavar="NUMBERS", callback=_numbers,
                     help="With --mean: the divisor of each channel after the subtraction, such as "
                          "0.2470,0.2435,0.2616."),
        click.option("--mean", metavar="NUMBERS", callback=_numbers,
                     help="Normalisation that the float weights expect: the mean of each channel, subtracted from "
                          "images in 0 to 1, such as 0.4914,0.4822,0.4465."),
        click.option("--weights", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
                     help="Float weights for --model, or for the network definition named by --network; they are "
                          "quantized first."),
        click.option("--model", metavar="FILE.py:FUNCTION|FILE.onnx", is_eager=True, callback=_check_model,
                     help="Your network, instead of --network: a Python file, which is run, with a function that "
                          "returns it; or an ONNX file."),
    ):  # fmt: skip
        function = option(function)
    return function


def post_training_options(function: Decorated) -> Decorated:
    """Add `--activation-range` and `--learned-rounding`."""
    for option in (
        click.option("--learned-rounding", is_flag=True,
                     help="Learn the rounding of float weights from the float network's layers, which takes minutes "
                          "and is worth it at 4 bits and below."),
        click.option("--activation-range", metavar="mse|PERCENT", default="mse", show_default=True,
                     callback=_check_range,
                     help="What the codes of activations cover: the range of least squared error, or all values up to "
                          "a percentile, such as 99.9."),
    ):  # fmt: skip
        function = option(function)
    return function


def bits_option(function: Decorated) -> Decorated:
    """Add `--bits`."""
    return click.option(
        "--bits", metavar="BITS", callback=_check_bits,
        help="Bits of weights and activations, 1 to 8: 8, or 4/8 (weights/activations), or by patterns of layer names, "
             "such as 'conv1=8/8,*.fc=4/8,*=4/4', of which the first counts that matches a layer. Default: 4.",
    )(function)  # fmt: skip


def _check_range(context: click.Context, option: click.Parameter, value: str) -> str:
    from norsim.quantization.post_training.ranges import read_range

    read_range(value)
    return value


def _check_bits(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Check the form of `--bits`; its patterns are checked when the layers of the network are known."""
    from norsim.quantization.by_layer.bits import read_bits

    return value and str(read_bits(value))


def transform_option(function: Decorated) -> Decorated:
    """Add `--transform`."""
    return click.option(
        "--transform", type=click.Choice(TRANSFORM_NAMES),
        help="For a folder of photos of any size: imagenet resizes the shorter side to 256 pixels and cuts out the "
             "middle 224 x 224; with --model or --weights, it is also the default of --mean and --std.",
    )(function)  # fmt: skip


def metric_option(function: Decorated) -> Decorated:
    """Add `--metric`."""
    return click.option(
        "--metric", metavar="NAME|FILE.py:FUNCTION", callback=_check_metric, shell_complete=named(_metrics),
        help="Judge the outputs by another metric than the share of correct classes: top5, cross-entropy, perplexity, "
             "prediction-accuracy (of pixels or tokens), miou, mae, rmse, or your function of (outputs, targets) of "
             "all images (the file is run).",
    )(function)  # fmt: skip


def _metrics() -> list[str]:
    from norsim.evaluation.quality.named import METRICS

    return ["accuracy", *METRICS]


def _check_metric(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Check a name before slow modules are imported for other reasons."""
    if value is not None and not is_code(value) and value not in _metrics():
        raise ConfigurationError(
            f"--metric: there is no metric {value!r}; {suggestion(value, _metrics())}. Your own is FILE.py:FUNCTION"
        )
    return value


def _check_model(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Check the form of `--model`. Naming a Python file on the command line implies trust; an ONNX file is not code."""
    if value is not None and not value.lower().endswith(".onnx"):
        if not is_code(value):
            raise ConfigurationError(
                f"--model {value}: expected FILE.py:FUNCTION, for example nets.py:make_net, or FILE.onnx"
            )
        context.meta[OWN_MODEL] = True
    return value


def _numbers(context: click.Context, option: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """Parse `0.5,0.4` to (0.5, 0.4)."""
    try:
        return None if value is None else tuple(float(word) for word in value.split(","))
    except ValueError:
        raise ConfigurationError(
            f"--{option.name} {value}: expected one number per channel, such as 0.4914,0.4822,0.4465"
        ) from None


def check_post_training(activation_range: str, learned_rounding: bool, quantizes: bool) -> None:
    """Refuse `--activation-range` and `--learned-rounding` for a command that `quantizes` no network."""
    for wanted, option in ((activation_range != "mse", "--activation-range"), (learned_rounding, "--learned-rounding")):
        if wanted and not quantizes:
            raise ConfigurationError(
                f"{option} needs --weights, --model or --bits: a trained network already stores its codes"
            )


def check_normalised(mean: tuple[float, ...] | None, std: tuple[float, ...] | None, quantizes: bool) -> None:
    """Raise ConfigurationError for `--mean` and `--std` that do not belong together, or to float weights: `quantizes`
    says whether the command line names some."""
    if mean is None and std is None:
        return
    if mean is None or std is None:
        raise ConfigurationError("--mean and --std must be given together")
    if not quantizes:
        raise ConfigurationError(
            "--mean and --std need --weights or --model: a trained network already stores its normalisation"
        )


def float_source(
    network: str | None, model: str | None, weights: Path | None, mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None, place: DataPlace,
) -> tuple[FloatSource, DataPlace]:  # fmt: skip
    """Return the float network that the options name, and where its data are; a `place` without a name is completed
    from its card, if it has one.

    With `--network` alone it is the one that the folder of the trained network keeps. By default the normalisation of
    float weights is that of the transform. `check_normalised` checks `--mean` and `--std` before slow imports.
    """
    from norsim.data.photos import TRANSFORMS
    from norsim.experiments.experiment import data_of
    from norsim.saved.float_weights import FloatSource
    from norsim.saved.network_folder import kept_float
    from norsim.zoo.normalise import Normalise

    if network is not None and weights is None:
        source, card = kept_float(network, model_is_trusted())
        return source, data_of(place, card, model_is_trusted())
    if mean is None and place.transform is not None:
        mean, std = TRANSFORMS[place.transform].mean, TRANSFORMS[place.transform].std
    normalise = None if mean is None or std is None else Normalise(mean, std)
    return FloatSource(network or str(model), weights, normalise=normalise), place


def _network_or_model(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    own = context.params.get("model")
    if value is None and own is None:
        raise click.MissingParameter(ctx=context, param=option)
    if value is not None and own is not None:
        raise ConfigurationError("--network and --model both name a network; give only one")
    return value


def network_options(function: Decorated) -> Decorated:
    """Add `--network`, `--dataset`, `--data` and `--trust-model`."""
    for option in (
        trust_model_option,
        click.option("--data", "data_folder", type=click.Path(path_type=Path), metavar="DIR",
                     help="Folder of the data set; needed unless it comes with norsim. FILE.py:FUNCTION gets it as its "
                          "second argument."),
        click.option("--dataset", metavar="NAME|DIR|FILE", shell_complete=complete_dataset,
                     help="digits, cifar10, a folder of images by class, a .npz file, or FILE.py:FUNCTION (the file "
                          "is run). Default: the data set that the network was trained on."),
        click.option("--network", metavar="NAME|DIR", callback=_network_or_model, shell_complete=complete_network,
                     help="A trained network that comes with norsim, or a folder written by norsim train."),
    ):  # fmt: skip
        function = option(function)
    return function
