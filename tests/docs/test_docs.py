"""Run the code and commands of the documents, and check that the names in them exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, get_args

import click
import pytest
import yaml
from dask_jobqueue.slurm import SLURMJob
from pydantic import BaseModel

from norsim.backends.programming import program_levels
from norsim.backends.registry import BACKENDS
from norsim.chip.load import apply_settings, load_chip, presets
from norsim.chip.schema import ChipFile, chip_file
from norsim.commands import COMMANDS, cli, main
from norsim.configuration.section import Section
from norsim.errors import NorsimError
from norsim.periphery.registry import ENCODINGS, section_key
from norsim.saved.network_folder import load_network

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A backslash continues a shell line.
CONTINUED = re.compile(r" *\\\n *")
# The blocks of a tutorial run one after the other in one folder.
TUTORIALS = [*sorted((ROOT / "docs" / "tutorials").glob("*.md")), ROOT / "CONTRIBUTING.md"]
# The first line of a block that the reader saves as a file.
FILE_NAME = re.compile(r"(?:[#*]|//) (\w+\.(?:py|yaml|lib|sp|va))\b")
# A part of a shell script: a line, with the text that it reads up to END.
DOCUMENT_OR_LINE = re.compile(r".* <<'END'\n(?:.*\n)*?END\n|.*\n")
# After a command that is expected to fail.
MEANT_TO_END = re.compile(r" # exit code (\d+)$")
INLINE = re.compile(r"`([^`\n]+)`")
# These change the machine or the checkout, so only the names in them are checked.
NOT_RUN = ("make", "git", "pip", "apt-get", "sudo", ".", "python3")


class Block(NamedTuple):
    """A fenced block of a document."""

    document: Path
    language: str
    line: int
    text: str

    @property
    def name(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Return all fenced blocks in these languages."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text()
        for match in FENCE.finditer(text):
            if match[1] in languages:
                shown = CONTINUED.sub(" ", match[2]) if match[1] == "sh" else match[2]
                found.append(Block(document, match[1], text.count("\n", 0, match.start()) + 1, shown))
    return found


def prose(document: Path) -> str:
    """Return a document without its fenced blocks."""
    return FENCE.sub("", document.read_text())


def is_run(line: str) -> bool:
    """Return whether a shell line is run unchanged; programs in the `.venv` of a checkout are not."""
    first = line.split()[:1]
    return (
        bool(first)
        and first[0] not in NOT_RUN
        and not first[0].startswith(".venv")
        and not first[0].startswith("NORSIM_")
    )


def lines_that_run(text: str) -> str:
    return "".join(line for line in text.splitlines(True) if is_run(line))


def lines_not_run() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.text.splitlines()]
    return [line for line in lines if line.split() and not is_run(line)]


def apart(*languages: str) -> list[Block]:
    """Return the blocks that run independently."""
    return [block for block in blocks(*languages) if block.document not in TUTORIALS]


def only_norsim(block: Block) -> bool:
    return all(line.startswith("norsim ") for line in block.text.splitlines())


def of_a_shell(block: Block) -> bool:
    return bool(lines_that_run(block.text)) and not only_norsim(block)


@pytest.mark.parametrize("block", [b for b in apart("sh") if only_norsim(b)], ids=lambda block: block.name)
@pytest.mark.slow
def test_commands_run(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in this process, as in tests/commands, because importing torch for each command would dominate the time."""
    monkeypatch.chdir(tmp_path)
    for line in block.text.splitlines():
        run_here(line, monkeypatch)
    assert_folders_filled(block, tmp_path)


def run_here(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a line `norsim ...` in this process."""
    monkeypatch.setattr(sys, "argv", shlex.split(line, comments=True))
    meant = MEANT_TO_END.search(line)
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == (int(meant[1]) if meant else 0), line


@pytest.mark.parametrize("document", TUTORIALS, ids=lambda document: document.name)
@pytest.mark.slow
def test_tutorials_run(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Write the files of a tutorial, run its lines in order, and find the shown output in the real one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    said = ""
    for block in (
        block for block in blocks("python", "yaml", "spice", "verilog", "sh", "text") if block.document == document
    ):
        if block.language in ("python", "yaml", "spice", "verilog"):
            named = FILE_NAME.match(block.text)
            assert named, f"{block.name}: a file starts with its name"
            (tmp_path / named[1]).write_text(block.text)
        elif block.language == "sh":
            run_script(lines_that_run(block.text), tmp_path, monkeypatch)
            assert_folders_filled(block, tmp_path)
            said = capsys.readouterr().out
        elif not block.text.startswith("norsim "):
            assert " ".join(block.text.split()) in " ".join(said.split()), f"{block.name}: {said}"


@pytest.mark.parametrize("block", [b for b in apart("sh") if of_a_shell(b)], ids=lambda block: block.name)
@pytest.mark.slow
def test_scripts_run(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run shell scripts without the lines that change the machine."""
    monkeypatch.chdir(tmp_path)
    run_script(lines_that_run(block.text), tmp_path, monkeypatch)
    assert_folders_filled(block, tmp_path)


def run_script(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a script in a folder: plain lines `norsim ...` in this process, everything else in a shell.

    A script whose lines share a state of the shell, such as a process in the background, is run by one shell.
    """
    if "$" in script or " & " in script:
        print(run_in_a_shell(script, folder))
        return
    for part in DOCUMENT_OR_LINE.findall(script):
        if part.startswith("norsim "):
            run_here(part.strip(), monkeypatch)
        else:
            print(run_in_a_shell(part, folder))


def run_in_a_shell(script: str, folder: Path) -> str:
    """Run a script in a folder, with the programs installed beside this interpreter; return its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["sh", "-eu", "-c", script], cwd=folder, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as running:  # fmt: skip
        try:
            said, _ = running.communicate(timeout=300)
        finally:
            # A failed script leaves its background processes.
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 0, f"{script}\n{said}"
    return said


def assert_folders_filled(block: Block, where: Path) -> None:
    """Check that each run folder has a result."""
    for folder in re.findall(r"--out (\S+)", block.text):
        written = {path.name for path in (where / folder).iterdir()}
        results = {"summary.json", "card.json", "currents.raw", "tile.cir", "report.html"}
        assert written & results, f"{block.name}: {written}"


@pytest.mark.parametrize(
    "document", sorted({block.document for block in apart("python")}), ids=lambda document: document.name
)
@pytest.mark.slow
def test_code_runs(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run the Python blocks of a page, which continue each other."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in apart("python"):
        if block.document == document:
            exec(compile(block.text, block.name, "exec"), names)
            assert capsys.readouterr().out, block.name


def test_lines_that_are_not_run_name_what_exists() -> None:
    for line in lines_not_run():
        words = shlex.split(line)
        words = words[1:] if words[0] == "sudo" else words
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= make_targets(), line
        elif words[0] == "apt-get":
            installer = (ROOT / "tools" / "install-system.sh").read_text()
            assert words[1] == "install" and all(package in installer for package in words[2:]), line
        elif words[0] == "pip":
            assert words == ["pip", "install", "-c", "constraints.txt", "-e", "."], line
        elif line not in ("python3 -m venv .venv", ". .venv/bin/activate"):
            assert_in_a_checkout(words, line)
    assert "torch==" in (ROOT / "constraints.txt").read_text()


def assert_in_a_checkout(words: list[str], line: str) -> None:
    """Check that programs are in the extra `dev`, and that paths exist."""
    words = [word for word in words if "=" not in word]
    assert re.fullmatch(r"git|\.venv[-.\d]*/bin/(python|pre-commit)", words[0]), line
    if words[:2] == ["git", "tag"]:
        return
    program = words[2] if words[1] == "-m" else Path(words[0]).name
    assert program == "git" or f"\n    {program}\n" in (ROOT / "setup.cfg").read_text(), line
    assert all((ROOT / word).exists() for word in words[1:] if "/" in word), line


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_targets_in_the_text_exist() -> None:
    named = {match for document in DOCUMENTS for match in re.findall(r"`make ([a-z]+)`", document.read_text())}
    assert {"demo", "test"} <= named <= make_targets()


def options(command: str, sub: str = "") -> set[str]:
    """Return all option names of a command or of a command in a group, including `--help`."""
    context = click.Context(cli)
    found = cli.get_command(context, command)
    if isinstance(found, click.Group) and sub:
        found = found.get_command(context, sub)
    assert found is not None, f"{command} {sub}"
    return {name for part in found.get_params(context) for name in (*part.opts, *part.secondary_opts)} | {"--help"}


def parts_of(command: str) -> list[str]:
    """Return the commands in a group; none for any other command."""
    context = click.Context(cli)
    found = cli.get_command(context, command)
    return found.list_commands(context) if isinstance(found, click.Group) else []


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Yield every `norsim ...` in a block or in the text, as (document, arguments)."""
    for document in DOCUMENTS:
        shown = [line for block in blocks("sh") if block.document == document for line in block.text.splitlines()]
        for text in [*shown, *INLINE.findall(prose(document))]:
            if text.startswith("norsim "):
                yield document.name, shlex.split(text, comments=True)[1:]


def test_commands_and_options_exist() -> None:
    seen = set()
    for where, words in command_lines():
        if words[0] in ("--version", "--help", "COMMAND"):
            continue
        assert words[0] in COMMANDS, f"{where}: norsim {words[0]}"
        group = isinstance(cli.get_command(click.Context(cli), words[0]), click.Group)
        sub = words[1] if group and len(words) > 1 else ""
        unknown = {word for word in words[1:] if word.startswith("-")} - options(words[0], sub)
        assert not unknown, f"{where}: norsim {words[0]} {unknown}"
        seen.add(words[0])
    assert seen == set(COMMANDS), "the documents show every command"


def test_options_in_the_text_exist() -> None:
    known = set().union(*(options(command, sub) for command in COMMANDS for sub in ("", *parts_of(command))))
    known |= {"--version"}
    for document in DOCUMENTS:
        for text in INLINE.findall(prose(document)):
            if text.startswith("--"):
                assert shlex.split(text)[0] in known, f"{document.name}: {text}"


def test_exit_codes_are_those_of_the_errors() -> None:
    def kinds(error: type[NorsimError]) -> Iterator[type[NorsimError]]:
        for kind in error.__subclasses__():
            yield kind
            yield from kinds(kind)

    section = (ROOT / "docs" / "reference" / "commands.md").read_text().partition("## Exit codes")[2]
    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert rows == {0, 130} | {kind.exit_code for kind in kinds(NorsimError)}


def test_presets_and_networks_are_named() -> None:
    text = (ROOT / "docs" / "chip-file.md").read_text().partition("## Presets")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)) == set(presets())
    text = (ROOT / "docs" / "reference" / "networks.md").read_text()
    assert f"`{load_network('digits-cnn')[1]['network']}`" in text


def test_backends_in_the_table_exist() -> None:
    section = (ROOT / "docs" / "howto" / "backend.md").read_text().partition("## Backends")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([a-z-]+)`", section, re.MULTILINE))
    assert {"ideal", "ngspice"} <= named <= {"ideal", *BACKENDS}


def chip_keys(section: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield the dotted names of all keys of a chip file."""
    for name, field in section.model_fields.items():
        # The section of the unused encoding is optional.
        of_an_encoding = [kind for kind in get_args(field.annotation) if not before and kind is not type(None)]
        kind = of_an_encoding[0] if name in map(section_key, ENCODINGS) else field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from chip_keys(kind, f"{before}{name}.")
        else:
            yield before + name


def script(path: Path) -> ModuleType:
    """Return a script of the documents as a module."""
    found = spec_from_file_location(path.stem, path)
    assert found is not None and found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_chip_file_page_is_made_of_the_schema() -> None:
    text = (ROOT / "docs" / "chip-file.md").read_text()
    assert script(ROOT / "docs" / "chip_keys.py").write(text) == text, "run docs/chip_keys.py"
    rows = re.findall(r"^\| `([\w.]+)` \|", tables(text), re.MULTILINE)
    assert sorted(rows) == sorted(chip_keys(chip_file()))
    assert "| None |" not in text, "every key has a docstring"


def tables(page: str) -> str:
    """Return the part of the chip-file page with the tables of keys."""
    return page.partition("\n## Chip\n")[2]


def value_of(file: ChipFile, key: str) -> Any:
    value: Any = file
    for part in key.split("."):
        value = getattr(value, part)
    return value


def test_defaults_and_values_of_the_chip_file_page_are_what_norsim_takes_them_for() -> None:
    content = yaml.safe_load(presets()["etox65"].read_text())
    preset, bare = chip_file().model_validate(content), content
    for line in tables((ROOT / "docs" / "chip-file.md").read_text()).splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if not line.startswith("| `"):
            continue
        (key,) = INLINE.findall(cells[0])
        *before, name = key.split(".")
        field = section_of(before).model_fields[name]
        assert (cells[2] == "required") == field.is_required(), key
        if not field.is_required() and field.default is None:
            assert cells[2] == "`null`", key
        elif not field.is_required():
            said = chip_file().model_validate(apply_settings(bare, (f"{key}={cells[2].strip('`')}",)))
            assert value_of(said, key) == (pytest.approx(field.default) if field.default else field.default), key
        if len(cells) == 5 and cells[3]:
            said = chip_file().model_validate(apply_settings(bare, (f"{key}={cells[3].strip('`')}",)))
            assert value_of(said, key) == value_of(preset, key), key


def section_of(names: list[str]) -> type[BaseModel]:
    """Return the section of a chip file with this path of names."""
    found: type[BaseModel] = chip_file()
    for name in names:
        annotation = found.model_fields[name].annotation
        (found,) = (kind for kind in (annotation, *get_args(annotation)) if kind in subsections())
    return found


def subsections() -> list[type[BaseModel]]:
    return [kind for one in (Section, *Section.__subclasses__()) for kind in one.__subclasses__()]


def test_the_trained_networks_in_the_table_are_those_that_come_with_norsim() -> None:
    text = (ROOT / "docs" / "reference" / "networks.md").read_text()
    rows = re.findall(r"^\| `(.+)` \| ([\d.]+) \| ([\d.]+) % \| ([\d.]+) % \|$", text, re.MULTILINE)
    found = {}
    for path in (ROOT / "models" / "networks").glob("*/card.json"):
        card = json.loads(path.read_text())
        if card["dataset"] == "cifar10":
            shares = (f"{100 * card[key]:.2f}" for key in ("float_accuracy", "quantized_accuracy"))
            found[path.parent.name] = (f"{card['width']:g}", *shares)
    assert {name: tuple(rest) for name, *rest in rows} == found


def test_the_accuracies_of_the_readme_are_those_of_the_cards() -> None:
    share = r"\d+\.\d+ %"
    row = rf"^\| ([\w-]+) \| (\w+) \| ([\d.]+) M \| ({share}) \| ({share}) \|$"
    shown = {name: tuple(rest) for name, *rest in re.findall(row, README.read_text(), re.MULTILINE)}
    cards = {}
    for path in (ROOT / "models" / "networks").glob("*/card.json"):
        card = json.loads(path.read_text())
        millions = card["weights"] / 1e6
        shares = (f"{100 * card[key]:.2f} %" for key in ("float_accuracy", "quantized_accuracy"))
        cards[path.parent.name] = (card["dataset"], f"{millions:.1f}" if millions > 0.1 else f"{millions:.1g}", *shares)
    assert shown == cards


def test_the_readme_is_short_and_names_the_test_command_of_the_integration_run() -> None:
    text = README.read_text()
    assert len(text.encode()) <= 10_000
    assert "make test" in text
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_the_example_chip_can_be_programmed(tmp_path: Path, encoding: str) -> None:
    (block,) = (block for block in blocks("yaml") if block.document.name == "chip-file.md")
    (tmp_path / "plain.yaml").write_text(block.text)
    chip = load_chip(tmp_path / "plain.yaml", (f"encoding={encoding}",))
    assert program_levels(chip.cell, chip.encoding).worst_error < 1e-6


def test_the_example_options_are_understood_by_a_queueing_system() -> None:
    (block,) = (block for block in blocks("yaml") if block.document.name == "runs.md")
    options = yaml.safe_load(block.text)
    assert options.pop("jobs") == 20
    job = SLURMJob("tcp://127.0.0.1:1", name="norsim", config_name="slurm", **options)
    for line in ("#SBATCH -p short", "#SBATCH -t 04:00:00", "#SBATCH --cpus-per-task=8", "#SBATCH --mem=16G"):
        assert line in job.job_script().splitlines(), job.job_script()


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings: lower case, words joined by hyphens."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        led = (document.parent / path).resolve() if path else document
        assert led.is_file() and ROOT in led.parents, f"{document.name}: {target}"
        assert not anchor or anchor in anchors(led), f"{document.name}: {target}"


def test_the_layout_on_the_architecture_page_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text().partition("## Layout")[2]
    tree = FENCE.search(text)
    assert tree is not None
    folders: list[str] = []
    for line in tree[2].splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders = [*folders[:depth], name]
        path = ROOT.joinpath(*folders)
        assert path.is_dir() if name.endswith("/") else path.is_file(), path


def test_the_layout_on_the_architecture_page_lists_every_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text().partition("## Layout")[2]
    tree = FENCE.search(text)
    assert tree is not None
    folders: list[str] = []
    listed = set()
    for line in tree[2].splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders = [*folders[:depth], name]
        listed.add(ROOT.joinpath(*folders))
    modules = {path for path in (ROOT / "norsim").rglob("*.py") if path.name != "__init__.py"}
    assert len(modules) > 100
    assert sorted(str(path.relative_to(ROOT)) for path in modules - listed) == []


def test_the_layers_on_the_architecture_page_are_those_of_the_contract() -> None:
    contract = (ROOT / "setup.cfg").read_text().partition("\nlayers =\n")[2]
    layers = [line.strip().replace("norsim.", "") for line in contract.splitlines() if line.startswith("    norsim.")]
    text = (ROOT / "docs" / "architecture.md").read_text().partition("## Imports")[2]
    shown = FENCE.search(text)
    assert shown is not None
    assert [re.split(r"\s{2,}", line)[0] for line in shown[2].splitlines()] == layers


def test_the_packages_without_torch_are_those_of_the_architecture_page() -> None:
    text = " ".join((ROOT / "docs" / "architecture.md").read_text().split())
    listed = re.findall(r"`(\w+)`", text.partition("do not import torch: ")[2].partition(".")[0])
    imports = re.compile(r"^ *(?:import|from) torch\b", re.MULTILINE)
    packages = {path.parent.name for path in (ROOT / "norsim").glob("*/__init__.py")}
    using = {
        path.relative_to(ROOT / "norsim").parts[0]
        for path in (ROOT / "norsim").rglob("*.py")
        if imports.search(path.read_text())
    }
    assert set(listed) == packages - using - {"api"}
    solver = ROOT / "norsim" / "solver"
    in_solver = [path.relative_to(solver) for path in solver.rglob("*.py") if imports.search(path.read_text())]
    assert {path.parts[0] for path in in_solver} == {"macro", "nodal"}
    assert [path.name for path in in_solver if path.parts[0] == "nodal"] == ["on_device.py"]


@pytest.mark.slow
def test_the_picture_is_what_its_script_draws(tmp_path: Path) -> None:
    folder = ROOT / "docs" / "pictures"
    # A separate font list, because one that matplotlib made for another environment may name missing fonts.
    own = {**os.environ, "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    subprocess.run([sys.executable, folder / "path.py", tmp_path], check=True, cwd=tmp_path, timeout=120, env=own)
    assert (tmp_path / "path.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "path.svg").read_bytes()
    import matplotlib

    # Another version of matplotlib may write other bytes.
    if f"matplotlib=={matplotlib.__version__}\n" in (ROOT / "constraints.txt").read_text():
        assert drawn == (folder / "path.svg").read_bytes()


def test_the_picture_shows_lines_of_the_deck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare up to a `…` or a shortened number, with continued lines joined."""
    run_here(f"norsim build-netlist --network digits-cnn --layer conv1 --vectors 4 --out {tmp_path}", monkeypatch)
    deck = joined((tmp_path / "tile.cir").read_text())
    (panel,) = re.findall(r'text = """\\\n(.*?)"""', (ROOT / "docs" / "pictures" / "path.py").read_text(), re.DOTALL)
    for line in joined(panel):
        assert any(one.startswith(line.partition("…")[0]) for one in deck), line


def joined(deck: str) -> list[str]:
    """Return the lines of a deck without blanks, each with its continuations."""
    return [re.sub(r"\s", "", line) for line in re.sub(r"\n(\+|\*   )", " ", deck).splitlines()]


def test_the_worked_examples_of_contributing_are_there() -> None:
    """They run with the tutorials; this test makes sure that none is missing."""
    files = [block.text for block in blocks("python", "yaml", "spice") if block.document.name == "CONTRIBUTING.md"]
    named = {found[1] for found in map(FILE_NAME.match, files) if found}
    assert named == {"thermometer.py", "alone.py", "ekv.sp", "ekv.yaml"}
    lines = [block.text for block in blocks("sh") if block.document.name == "CONTRIBUTING.md"]
    assert all(any(name in text for text in lines) for name in ("thermometer.py", "alone.py", "--chip ekv.yaml"))
