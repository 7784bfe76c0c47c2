"""The page: one self-contained HTML file, and its figures as separate files."""

from __future__ import annotations

import shlex
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from norsim.backends.registry import gives_integers
from norsim.configuration.quantities import engineering
from norsim.errors import ConfigurationError
from norsim.experiments.run_record import Missing, Origin, RunRecord
from norsim.files import make_folder, write_text
from norsim.report.compare import Comparison, compare, letter
from norsim.report.figures import of_results
from norsim.report.figures.of_results import described
from norsim.report.figures.svg import Drawing
from norsim.report.layers import MOST_SOLVED
from norsim.report.page_content import PageContent, content_of
from norsim.report.verdict import command_line

PAGE, FIGURES = "report.html", "figures"
MOST_RUNS = 6
# Options that eval-network and attribute share, with a value; and the flags of trust.
SHARED = ("--dataset", "--data", "--images", "--chip", "-c", "--encoding", "--set", "--seed")
TRUST = {"--trust-cell": "--trust-cell", "--trust-model": "--trust-model", "--model": "--trust-model"}


def write_page(records: Sequence[RunRecord], out: Path) -> Path:
    """Write `out`/report.html about one run, or several side by side, and its figures in `out`/figures.

    Return its path.

    The figures are written first, so that no page lacks them. Raises WriteError if the folder cannot be
    written, ConfigurationError for no run or more than `MOST_RUNS`, and for runs that cannot be compared.
    """
    if not 1 <= len(records) <= MOST_RUNS:
        raise ConfigurationError(
            f"a report is about one run, or about up to {MOST_RUNS} side by side, not {len(records)}"
        )
    comparison = compare(records) if len(records) > 1 else None
    each = MOST_SOLVED // len(records)
    cases = [content_of(record, mark, each) for record, mark in zip(records, _marks(len(records)), strict=True)]
    text, drawings = render(cases, comparison)
    make_folder(out / FIGURES)
    for drawn in drawings:
        write_text(out / FIGURES / f"{drawn.name}.svg", drawn.svg)
    write_text(out / PAGE, text)
    return out / PAGE


def render(cases: Sequence[PageContent], comparison: Comparison | None) -> tuple[str, list[Drawing]]:
    """Return the page's text and all its figures."""
    verdicts = {_name(one): one.verdict for one in cases if one.verdict}
    overview = of_results.accuracies(verdicts) if verdicts else None
    environment = _environment()
    script = (files("norsim.report") / "templates" / "script.js").read_text()
    text = environment.get_template("report.html").render(
        cases=cases, comparison=comparison, overview=overview, title=_title(cases), script=Markup(script),
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )  # fmt: skip
    drawn = [overview] if overview else []
    return text, [*drawn, *(figure for one in cases for figure in one.drawings)]


def attribute_command(record: RunRecord, by: str) -> str | None:
    """Return the command that attributes the run's losses; None if its command is unknown or it read no array."""
    if gives_integers(str(record.summary["backend"])):
        return None
    return _like(record, "attribute", "--by", by)


def array_command(record: RunRecord) -> str | None:
    """Return the command that reads the array for a run that computed integers; None if its command is unknown."""
    return _like(record, "eval-network", "--backend", "macro")


def _like(record: RunRecord, command: str, *others: str) -> str | None:
    """Return a command on the network, data and chip of a run, with `others` as further words."""
    if isinstance(record.origin, Missing):
        return None
    words = [str(word) for word in record.origin.manifest["command"]]
    kept = [part for at, word in enumerate(words[:-1]) if word in SHARED for part in (word, words[at + 1])]
    kept += [word for word in words if word.partition("=")[0] in SHARED and "=" in word and word.startswith("--")]
    kept += dict.fromkeys(TRUST[name] for word in words if (name := word.partition("=")[0]) in TRUST)
    return shlex.join(["norsim", command, "--network", str(record.summary["network"]), *kept, *others])


def _marks(count: int) -> tuple[str, ...]:
    return ("",) if count == 1 else tuple(f"{letter(place).lower()}-" for place in range(count))


def _name(one: PageContent) -> str:
    return f"{one.mark[:1].upper()}: {one.record.title}" if one.mark else one.record.title


def _title(cases: Sequence[PageContent]) -> str:
    summaries = [one.record.summary for one in cases]
    return " and ".join(dict.fromkeys(f"{part['network'] or 'network'} on {part['dataset'] or 'its data'}"
                                      for part in summaries))  # fmt: skip


def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("norsim.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    tests: dict[str, Any] = {"missing": lambda value: isinstance(value, Missing), "origin": _is_origin}
    found.tests.update(tests)
    found.filters.update(
        percent=_percent, points=_points, engineering=_engineering, name=_name, by=described,
        gives_integers=gives_integers,
    )  # fmt: skip
    found.globals.update(command_line=command_line, attribute_command=attribute_command, array_command=array_command)
    return found


def _is_origin(value: object) -> bool:
    return isinstance(value, Origin)


def _percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f} %"


def _engineering(value: float, unit: str) -> str:
    """Format as the commands do, but with a micro sign."""
    return engineering(value, unit).replace("u", "µ")


def _points(points: float) -> str:
    return f"{points:+.2f}".replace("-", "−")
