"""`python -m results [PART ...]`: measures the parts of the results that are missing, interrupted or stale, and writes
docs/results.md, docs/read-chain.md and what README.md says of them. Finished parts are kept in results/parts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from norsim.errors import suggestion
from norsim.files import write_text
from results import page, read_chain, readme
from results.figures import draw
from results.inputs import Sources, sources
from results.part import ROOT, Part, Places
from results.plan import PARTS
from results.run import INTERRUPTED, PartError, run
from results.states import State, Store, dry_run, read, state_of


def options() -> argparse.ArgumentParser:
    """Return the options of the program."""
    parser = argparse.ArgumentParser(prog="python -m results", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="names or patterns such as 'resnet20-*'; default: all")
    parser.add_argument("--list", action="store_true", help="only say which parts are done, and how long others take")
    parser.add_argument("--estimate", action="store_true", help="only predict parts that never ran, by dry runs")
    parser.add_argument("--page", action="store_true", help="only write the pages, from the files of parts")
    parser.add_argument("--minutes", type=float, help="start no part that is predicted to end later than in M minutes")
    parser.add_argument("--data", type=Path, help="folder of CIFAR-10")
    parser.add_argument("--networks", type=Path, help="folder of vit/float.safetensors and gpt/float.safetensors")
    parser.add_argument("--text", type=Path, help="folder of input.txt, the text of gpt")
    parser.add_argument("--results", type=Path, default=Store().parts, help="folder of the parts' files")
    parser.add_argument("--runs", type=Path, default=Store().runs, help="folder of the runs")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of README.md and docs/")
    return parser


def main(words: Sequence[str] | None = None, plan: Sequence[Part] = PARTS) -> int:
    """Do what the options say; return the exit code: 1 if a part failed, 130 if it was interrupted."""
    parser = options()
    chosen = parser.parse_args(words)
    store = Store(chosen.results, chosen.runs)
    if chosen.page:
        write_pages(store, chosen.root)
        return 0
    try:
        parts = named(chosen.parts, plan)
    except ValueError as problem:
        parser.error(str(problem))
    given = {name: getattr(chosen, name) for name in vars(Places())}
    known = sources(Places(**{name: folder and folder.resolve() for name, folder in given.items()}))
    states = {part: state_of(part, store, known) for part in parts}
    if chosen.estimate:
        for part, state in states.items():
            if state.wanted and state.minutes is None:
                dry_run(part, store, known)
        states = {part: state_of(part, store, known) for part in parts}
    if chosen.list or chosen.estimate:
        print("\n".join(listed(states)))
        return 0
    until = None if chosen.minutes is None else time.monotonic() + 60 * chosen.minutes
    code = measure([part for part, state in states.items() if state.wanted], store, known, until)
    write_pages(store, chosen.root)
    return code


def named(names: Sequence[str], plan: Sequence[Part]) -> list[Part]:
    """Return the parts with these names, or that match these patterns, in the order of the plan; all without any.

    Raises ValueError for a name without a part.
    """
    for name in names:
        if not any(fnmatchcase(part.name, name) for part in plan):
            known = {part.name: part for part in plan}
            raise ValueError(f"there is no part {name!r}; {suggestion(name, known)}")
    return [part for part in plan if not names or any(fnmatchcase(part.name, name) for name in names)]


def listed(states: dict[Part, State]) -> list[str]:
    """Return a line a part, and the sum of the minutes of those that are not done."""
    width = max(len(part.name) for part in states)
    lines = []
    for part, state in states.items():
        minutes = "?" if state.minutes is None else f"{state.minutes:.1f}"
        lines.append(f"{part.name:{width}}  {minutes:>6} min ({state.how})  {state.words()}")
    left = [state.minutes for state in states.values() if state.wanted]
    unknown = sum(minutes is None for minutes in left)
    total = sum(minutes or 0.0 for minutes in left)
    more = f", and {unknown} that --estimate can predict" if unknown else ""
    return [*lines, f"{len(left)} parts left: {total:.0f} minutes{more}"]


def measure(parts: Sequence[Part], store: Store, known: Sources, until: float | None) -> int:
    """Measure parts in their order, those that fit in the time `until` (monotonic seconds); return the exit code.

    A part that fails does not stop the others.
    """
    code = 0
    for part in parts:
        if until is not None and not fits(part, store, known, until):
            continue
        try:
            run(part, store, known)
        except PartError as problem:
            print(problem, file=sys.stderr)
            if problem.code == INTERRUPTED:
                print("start again to go on", file=sys.stderr)
                return INTERRUPTED
            code = 1
    return code


def fits(part: Part, store: Store, known: Sources, until: float) -> bool:
    """Return whether a part is predicted to end before `until`, if need be by a dry run."""
    if time.monotonic() >= until:
        return False
    if state_of(part, store, known).minutes is None:
        dry_run(part, store, known)
    minutes = state_of(part, store, known).minutes
    left = (until - time.monotonic()) / 60
    if minutes is None or minutes > left:
        takes = "nobody knows how long it takes" if minutes is None else f"it takes {minutes:.0f} minutes"
        print(f"{part.name} is left out: {takes}, and {left:.0f} are left", file=sys.stderr)
        return False
    return True


def write_pages(store: Store, root: Path) -> None:
    """Write the pages and their figures from the files of parts alone."""
    contents = {path.stem: read(path) for path in sorted(store.parts.glob("*.json"))}
    found = {name: content for name, content in contents.items() if content is not None}
    draw(found, root / "docs" / "pictures")
    write_text(root / "docs" / "results.md", page.page(found))
    write_text(root / "docs" / "read-chain.md", read_chain.page(found))
    readme.write(found, root / "README.md")


if __name__ == "__main__":
    sys.exit(main())
