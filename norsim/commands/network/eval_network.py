"""`norsim eval-network`: the accuracy a network keeps on the array, verified by a SPICE simulator."""

from __future__ import annotations

import csv
import shlex
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from norsim.backends.registry import BACKENDS
from norsim.commands.network.shown_result import report_result, table_of, warn_of_labels
from norsim.commands.shared.device_option import device_of_options, device_option
from norsim.commands.shared.network_options import (
    bits_option,
    check_normalised,
    check_post_training,
    float_source,
    metric_option,
    model_is_trusted,
    network_options,
    own_network_options,
    post_training_options,
    transform_option,
)
from norsim.commands.shared.options import (
    check_network,
    check_out,
    chip_of_options,
    chip_options,
    is_dry_run,
    open_output,
    open_run,
    print_json,
    resume_options,
    run_options,
    scheduler_options,
    show_evaluation_cost,
    workers_for,
)
from norsim.commands.shared.progress import reporting
from norsim.commands.shared.proof_options import check_proof, proof_options, warn_of_result
from norsim.errors import ConfigurationError, ThresholdError
from norsim.files import copy_files, write_atomically, write_text
from norsim.jobs.phases import Phases, step

if TYPE_CHECKING:
    from norsim.evaluation.evaluate import Evaluation
    from norsim.evaluation.metrics import Predictions


@click.command("eval-network")
@network_options
@own_network_options
@transform_option
@bits_option
@post_training_options
@click.option("--images", type=click.IntRange(min=1), help="Use only the first N test images; all by default.")
@click.option("--skip", type=click.IntRange(min=0), default=0, metavar="N",
              help="Leave out the first N test images, for example to split a test set over machines.")  # fmt: skip
@metric_option
@click.option(
    "--backend",
    type=click.Choice(list(BACKENDS)),
    default="macro",
    show_default=True,
    help="Solver that reads the tiles; ideal computes integers instead.",
)
@click.option(
    "--layers",
    "pattern",
    default="*",
    metavar="PATTERN",
    help="Layers to put on the array, as a shell pattern such as 'layer1.*'; the others stay digital.",
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="RUN",
    help="Report how many images this run and an earlier one classify identically.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of chips of this design to evaluate; cells and converters are drawn again for each.",
)
@click.option("--yield-above", "least", type=click.FloatRange(0, 1), metavar="ACCURACY",
              help="Report the yield: the share of chips that reaches this accuracy.")  # fmt: skip
@click.option("--min-accuracy", type=click.FloatRange(0, 1), help="Fail (exit 5) below this accuracy.")
@proof_options
@device_option
@chip_options
@resume_options
@scheduler_options
@run_options
def command(
    network: str | None, model: str | None, weights: Path | None,
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None, bits: str | None,
    digital: tuple[str, ...], activation_range: str, learned_rounding: bool,
    dataset: str | None, data_folder: Path | None, transform: str | None, images: int | None, skip: int,
    metric: str | None,
    backend: str, pattern: str, compare: Path | None, spice_sample: int, proof_images: int | None,
    proof_seconds: float | None, trials: int, least: float | None,
    min_accuracy: float | None, tolerance: float | None, tolerance_steps: float | None, max_changed: float | None,
    chip_name: str, encoding: str | None, settings: tuple[str, ...],
    seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Measure the accuracy of a network whose convolutions and linear layers are computed by NOR-flash arrays.

    \b
    Examples:
      norsim eval-network --network digits-cnn
      norsim eval-network --network digits-cnn --images 20 --backend ngspice
      norsim eval-network --model nets.py:make_net --weights w.safetensors --dataset digits
      norsim eval-network --network resnet20 --bits 'conv1=8/8,linear=8/8,*=4/6' --data DIR
      norsim eval-network --model nets.py:make_gpt --dataset text.py:windows --metric perplexity
    """
    started = time.monotonic()
    check_out("eval-network", out)
    if least is not None and trials == 1:
        raise ConfigurationError("--yield-above needs several chips, for example --trials 10")
    own = network is None or weights is not None or bits is not None
    check_normalised(mean, std, quantizes=model is not None or weights is not None)
    check_post_training(activation_range, learned_rounding, own)
    check_options_of_metric(metric, trials, min_accuracy, compare)
    if not own:
        check_network(str(network))
    other = None if compare is None else read_predictions(compare)
    choice = chip_of_options(chip_name, encoding, settings, seed)

    phases = Phases()
    with reporting(quiet, phases) as report, step(report, "import"):
        from norsim.backends.registry import backend_named
        from norsim.data.tensors import tensors_of
        from norsim.evaluation.proof.kept_reads import save_samples
        from norsim.evaluation.quality.choice import metric_of
        from norsim.evaluation.trials import table_of_chips
        from norsim.experiments.experiment import open_experiment
        from norsim.quantization.forward import device_name
        from norsim.saved.post_training import DataPlace, quantized_folder
        from norsim.tiling.digital import digital_parts
        from norsim.training.recipes import POST_TRAINING

    wanted = backend_named(backend)
    device = device_of_options(wanted)
    judged_by, place = metric_of(metric), DataPlace(dataset, data_folder, transform)
    by_metric = judged_by is not None
    made, left_out = None, 0.0
    if own:
        # It goes to the folder of the run once that is known to be a run with the same options.
        made = Path(click.get_current_context().with_resource(TemporaryDirectory())) / "network"
        shown_name = str((made if is_dry_run() else open_output("eval-network", out).path) / "network")
        command_line = shlex.join(["norsim", *sys.argv[1:]])
        source, place = float_source(network, model, weights, mean, std, place)
        recipe = replace(
            POST_TRAINING, bits=bits or POST_TRAINING.bits, activation_range=activation_range,
            learned_rounding=learned_rounding,
        )  # fmt: skip
        with reporting(quiet, phases) as report:
            left_out = quantized_folder(
                source.network, source.weights, place, made, command_line, source.normalise, images, digital,
                recipe=recipe, width=source.width, by_metric=by_metric, shapes_only=is_dry_run(), report=report,
            )  # fmt: skip
        network = str(made)
    with reporting(quiet, phases) as report:
        one = open_experiment(
            str(network), choice, place.name, data_folder, transform=place.transform, by_metric=by_metric,
            pattern=pattern, digital=() if own else digital, backend=backend, seed=seed, trusted=model_is_trusted(),
            name=shown_name if own else None, report=report,
        )  # fmt: skip
        if is_dry_run():
            few, total = one.sample(images, report=report, by_metric=by_metric, skipped=skip)
        else:
            shown, known = one.images(images, report=report, by_metric=by_metric, skipped=skip)
    if is_dry_run():
        show_evaluation_cost(
            one.net, few, total, started, jobs, as_json, left_out, spice_sample=spice_sample, proof_images=proof_images,
            proof_seconds=proof_seconds, evaluations=trials, passes=trials, fits=trials,
        )  # fmt: skip
        return
    with reporting(quiet, phases) as report, workers_for(jobs) as workers:
        folder = open_run("eval-network", out, choice, seed, phases, device_name(device))
        one.net.to(device)
        if made is not None:
            copy_files(made, folder.path / "network")
        options: dict[str, Any] = {"workers": workers, "report": report, "store": folder.units}
        if trials == 1 and not wanted.gives_integers:
            one.net.calibrate(**options)
        found = one.net.evaluate(
            shown, judged_by, trials=trials, spice_sample=spice_sample, proof_images=proof_images,
            proof_seconds=proof_seconds, float_predictions=known, **options,
        )  # fmt: skip
        report("write", 0, 1)
        found = replace(found, seconds=time.monotonic() - started)
        write_text(folder.path / "results.csv", table_of(found, judged_by, known, table_of_chips(found), skip))
        write_atomically(folder.path / "samples.npz", partial(save_samples, found.samples, found.at_random))
        summary = found.summary() | {"digital": digital_parts(one.net.parts.analog, tensors_of(shown.take(1))[0])}
    if found.chips is not None:
        summary["trials"] = {"count": trials, **asdict(found.chips)}
        if least is not None:
            summary["trials"]["yield"] = found.chips.above(least)
    if other is not None:
        summary["compared"] = agreement(found.predictions, other, str(compare), skip)
    folder.finish(summary)
    if as_json:
        print_json({**summary, "out": str(folder.path)})
    else:
        report_result(found, folder.path, verbose, summary)
        if other is not None:
            click.echo("{alike} of {images} images have the same class as in {run}".format(**summary["compared"]))
    warn_of_result(found)
    warn_of_labels(found)
    check(found, min_accuracy)
    check_proof(found, tolerance, tolerance_steps, max_changed)


def check_options_of_metric(metric: str | None, trials: int, least: float | None, compare: Path | None) -> None:
    """Raise ConfigurationError for options that are about accuracies, together with another metric."""
    if metric is None or metric == "accuracy":
        return
    for wrong, option in ((trials > 1, "--trials"), (least is not None, "--min-accuracy"), (compare, "--compare")):
        if wrong:
            raise ConfigurationError(f"{option} needs the share of correct classes; leave out --metric {metric}")


def read_predictions(run: Path) -> dict[int, int]:
    """Return the array's class of each image, from the results.csv of a finished run."""
    try:
        with open(run / "results.csv", newline="") as file:
            return {int(row["image"]): int(row["array"]) for row in csv.DictReader(file)}
    except (OSError, KeyError, TypeError, ValueError):
        raise ConfigurationError(
            f"--compare {run}: the folder has no readable results.csv; give the folder of a finished run"
        ) from None


def agreement(predictions: Predictions, other: dict[int, int], run: str, skipped: int) -> dict[str, Any]:
    """Count the images with the same class in both runs, among those that both saw; `predictions` are `[images]`, of
    those after `skipped`."""
    both = [image for image in range(skipped, skipped + len(predictions)) if image in other]
    alike = sum(int(predictions[image - skipped]) == other[image] for image in both)
    return {"run": run, "images": len(both), "alike": alike}


def check(found: Evaluation, min_accuracy: float | None) -> None:
    """Raise ThresholdError for an accuracy below the requested one."""
    if min_accuracy is not None and (found.accuracy is None or found.accuracy < min_accuracy):
        reached = "unknown" if found.accuracy is None else f"{found.accuracy:.4f}"
        raise ThresholdError(f"accuracy {reached} is below --min-accuracy {min_accuracy}")
