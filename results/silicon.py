"""What the page says of real silicon: cures, sweeps, energy and time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from norsim.evaluation.attribution import paired_loss
from results.cases import ENERGY
from results.cells import Runs, classes_of, points, share

STRESS = "etox65-stress-bit-serial"
SHARES = "cures-etox65-stress"


def cures(found: dict[str, Runs]) -> Iterator[str]:
    """What each cure regains on the stress chip."""
    cured = {network: runs[SHARES] for network, runs in found.items() if SHARES in runs}
    if not cured:
        return
    yield from ("## Mitigations", "")
    yield (
        "On the stress chip, whose source lines are bare diffusion, for all test images. All runs but `unfitted` have "
        "the column fit, and some have one more mitigation: `in-place`, cells programmed in place by `norsim "
        "eval-network --network resnet20 --dataset cifar10 --data DIR --chip etox65-stress --set "
        "silicon.in_situ=true`; `levels`, level currents and drain voltages selected on training images by `norsim "
        "sweep --split train`; `tuned`, weights trained through the circuit by `norsim finetune`. Losses are against "
        "the shipped digital 4-bit network."
    )
    yield from ("", "| network | run | accuracy | below 4 bit, points |", "|---|---|---|---|")
    for network in cured:
        digital = classes_of(found[network][STRESS])["quantized"]
        for name, summary in found[network].items():
            if name.startswith(STRESS):
                classes = classes_of(summary)
                lost = points(asdict(paired_loss(digital, classes["array"], classes["label"])))
                yield f"| {network} | {name} | {share(summary, 'accuracy')} | {lost} |"
    yield ""
    yield (
        "`norsim attribute --by cures` on the first images: points lost against the digital 4-bit network with no "
        "mitigation and with all, and the change by each one alone and by adding it to all others (negative: "
        "recovered)."
    )
    yield from ("", "| network | run | images | mitigations | alone | added last |", "|---|---|---|---|---|---|")
    for network, shares in cured.items():
        start = f"| {network} | {SHARES} | {shares['images']} |"
        yield f"{start} none | {points(shares['base'])} | |"
        for cure in shares["shares"]:
            yield f"{start} {cure['name']} | {points(cure['alone'])} | {points(cure['without'])} |"
        yield f"{start} all | {points(shares['array'])} | |"
    yield ""


def sweeps(found: dict[str, Runs]) -> Iterator[str]:
    """The accuracy over silicon, converters and wires."""
    swept = {network: {n: s for n, s in runs.items() if "points" in s} for network, runs in found.items()}
    if not any(swept.values()):
        return
    yield from ("## Silicon, converters and wires", "")
    yield (
        "Accuracy over properties of the chip, bit-serial, on the first images; the mean of ten chips if cells have "
        "a spread. The spread between chips leaves out the chance of the images. Spread and drift over time are "
        "those measured on 40 nm SONOS cells; for the sweeps over time and temperature, converters and columns were "
        "fitted just after programming, at 27 degC. [Non-idealities](theory/silicon.md) has the models."
    )
    yield from (
        "",
        "![Accuracy over spread, time, temperature, converter, wordline lag, rows and wires](pictures/silicon.svg)",
        "",
    )
    yield "| network | run | images | chips | point | accuracy | between chips, points |"
    yield "|---|---|---|---|---|---|---|"
    for network, runs in swept.items():
        for name, summary in runs.items():
            start = f"| {network} | {name} | {summary['images']} | {summary['trials']} |"
            for row in summary["points"]:
                point = ", ".join(f"`{key}={row[key]}`" for key in summary["keys"])
                value = f"{100 * row['accuracy']:.2f} % ({100 * row['low']:.2f} to {100 * row['high']:.2f})"
                sigma = "" if row["sigma"] is None else f"{100 * row['sigma']:.2f}"
                yield f"{start} {point} | {value} | {sigma} |"
    yield ""


# Published chips: what, source, energy and time as they say.
PUBLISHED = (
    (
        "three-layer perceptron on MNIST, 180 nm NOR, prototype",
        "Merrikh-Bayat et al., IEEE Trans. Neural Networks and Learning Systems 29 (2018) 4782",
        "below 20 nJ and below 1 us per image",
    ),
    (
        "1 Mb of 40 nm NOR, 4-bit MAC, 8-bit SAR converters",
        "Zhang et al., ISCAS 2021, DOI 10.1109/iscas51556.2021.9401600",
        "35.6 TOPS/W, 3.277 TOPS",
    ),
    (
        "8 Mb SoC of 55 nm NOR, INT8, fabricated",
        'Jin et al., "8-Mb embedded NOR Flash-based compute-in-memory SoC"',
        "7.48 TOPS/W, 0.16 TOPS",
    ),
    (
        "architecture on 40 nm SONOS, ResNet-50, simulated",
        "Xiao et al., IEEE Trans. Circuits Syst. I 69 (2022) 1480, DOI 10.1109/TCSI.2021.3134313",
        "20 TOPS/W",
    ),
)


def energy(found: dict[str, Runs]) -> Iterator[str]:
    """Energy and time of an image, beside published chips."""
    known = {
        (network, name): summary
        for network, runs in found.items()
        for name, summary in runs.items()
        if name.startswith(ENERGY)
    }
    if not known:
        return
    yield from ("## Energy and time per image", "")
    yield "| network | run | MACs | energy | cells | lines | converters | TOPS/W | latency | interval |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for (network, name), summary in known.items():
        cost = summary["energy"]
        joules = [1e9 * cost[f"{part}joules_image"] for part in ("", "cells_", "lines_", "converters_")]
        energies = " | ".join(f"{value:.4g} nJ" for value in joules)
        yield (
            f"| {network} | {name} | {cost['macs_image'] / 1e6:.2f} M | {energies} | "
            f"{cost['tops_per_watt']:.3g} | {1e6 * cost['latency_seconds']:.4g} us | "
            f"{1e6 * cost['interval_seconds']:.4g} us |"
        )
    yield from ("", f"Assumptions: {next(iter(known.values()))['energy']['assumptions']}.", "")
    yield from ("| published | source | as stated |", "|---|---|---|")
    yield from (f"| {what} | {source} | {figures} |" for what, source, figures in PUBLISHED)
    yield ""
    yield (
        "A MAC counts as two operations. Unlike the published figures, the computed energy is that of cells, driven "
        "lines and converters alone: [Energy and time](theory/energy.md) says what it leaves out. A converter takes "
        "the energy of its figure of merit, at full resolution, for every bit of the activations, and layers that "
        "leave rows of a tile empty need as many conversions for less work. The 40 nm NOR macro states its peak, with "
        "full tiles. The perceptron works in continuous time and has no converters between its layers."
    )
    yield ""
