"""The documentation site builds without warnings, its links resolve, and it needs no network."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

from norsim import api
from norsim.chip.schema import chip_file
from norsim.commands import cli
from tests.docs.test_docs import chip_keys
from tests.test_docstrings import everything

# The extra `docs` needs Python 3.11 or later.
pytest.importorskip("sphinx")

ROOT = Path(__file__).resolve().parents[2]
# What a browser fetches, as (tag, attribute); for `link` only with some relations.
FETCHED = {
    ("script", "src"), ("img", "src"), ("img", "srcset"), ("iframe", "src"), ("source", "src"), ("source", "srcset"),
    ("video", "src"), ("audio", "src"), ("embed", "src"), ("object", "data"), ("link", "href"), ("image", "href"),
    ("use", "href"), ("input", "src"),
}  # fmt: skip
ELSEWHERE = re.compile(r"^(?:\w+:)?//")
# In a style sheet or a script.
ADDRESS = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"]|(?:fetch|importScripts)\(\s*['\"])((?:\w+:)?//[^'\")\s]+)")


class Page(HTMLParser):
    """The anchors of an HTML page, the targets of its links, and what it fetches."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.anchors.add(value)
            if (tag, name) in (("a", "href"), ("form", "action")):
                self.links.append(value)
            if (tag, name) in FETCHED:
                self.fetched.append(value)
            if name == "style":
                self.fetched += ADDRESS.findall(value)


@lru_cache
def page(path: Path) -> Page:
    return Page(path.read_text())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does."""
    (line,) = re.findall(r"^\t\$\(BIN\)/python -m (sphinx .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    folder = tmp_path_factory.mktemp("site")
    words = [word.replace("build/", f"{folder}/") for word in line.split()]
    built = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert built.returncode == 0 and not built.stderr, f"{built.stdout}\n{built.stderr}"
    return folder / "site"


def pages(site: Path) -> Iterator[Path]:
    found = sorted(site.rglob("*.html"))
    assert len(found) > len(list((ROOT / "docs").rglob("*.md")))
    return iter(found)


@pytest.mark.slow
def test_all_links_within_the_site_lead_somewhere(site: Path) -> None:
    wrong = []
    for path in pages(site):
        for link in page(path).links:
            address = urlsplit(link)
            if address.scheme or ELSEWHERE.match(link):
                continue
            led = (path.parent / unquote(address.path)).resolve() if address.path else path
            anchor = unquote(address.fragment)
            if not led.is_file() or (anchor and led.suffix == ".html" and anchor not in page(led).anchors):
                wrong.append(f"{path.relative_to(site)}: {link}")
    assert not wrong


def test_every_page_can_be_reached_from_the_first(site: Path) -> None:
    reached, ahead = set(), [site / "index.html"]
    while ahead:
        path = ahead.pop()
        if path in reached:
            continue
        reached.add(path)
        for link in page(path).links:
            address = urlsplit(link)
            if not address.scheme and address.path.endswith(".html"):
                ahead.append((path.parent / unquote(address.path)).resolve())
    assert {path.resolve() for path in pages(site)} == {path.resolve() for path in reached}


def test_nothing_is_loaded_from_the_network(site: Path) -> None:
    asked = [f"{path.name}: {link}" for path in pages(site) for link in page(path).fetched if ELSEWHERE.match(link)]
    for path in [*site.rglob("*.css"), *site.rglob("*.js"), *site.rglob("*.html")]:
        asked += [f"{path.name}: {address}" for address in ADDRESS.findall(path.read_text())]
    # A browser treats an SVG picture as a page.
    for path in site.rglob("*.svg"):
        asked += re.findall(r"(?:href|src)=[\"'](\w+://[^\"']+)", path.read_text())
    assert not asked


def test_what_a_page_fetches_is_seen() -> None:
    seen = Page('<img src="//a.b/c.png"><link href="https://d.e/f.css"><p style="background: url(http://g.h/i)">')
    assert [bool(ELSEWHERE.match(link)) for link in seen.fetched] == [True] * 3
    assert ADDRESS.findall("@import 'https://a.b/c'; x { src: url(//d.e/f.woff) } y { src: url(g.woff) }") == [
        "https://a.b/c", "//d.e/f.woff",
    ]  # fmt: skip


def commands(group: click.Group, before: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command as (words, command), including those in groups."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{before} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{before} {name}")


def test_every_command_and_option_is_on_the_reference_page(site: Path) -> None:
    path = site / "reference" / "commands.html"
    text = path.read_text()
    for words, command in commands(cli, "norsim"):
        anchor = words.replace(" ", "-")
        assert anchor in page(path).anchors, words
        for part in command.params:
            if isinstance(part, click.Option) and not part.hidden:
                assert f"cmdoption-{anchor}" in text and all(name in text for name in part.opts), (words, part.name)


def test_every_key_of_a_chip_is_on_its_page(site: Path) -> None:
    text = (site / "chip-file.html").read_text()
    assert [key for key in chip_keys(chip_file()) if f">{key}<" not in text] == []


def test_every_exported_name_is_on_the_python_page(site: Path) -> None:
    text = (site / "reference" / "python.html").read_text()
    for name in api.__all__:
        assert re.search(rf'<span class="(?:pre|sig-name[^"]*)">(?:<span class="pre">)?{name}</span>', text), name
    assert 'id="norsim.array.cell.Cell"' in (site / "reference" / "modules" / "array.html").read_text()


def test_every_public_name_is_on_the_page_of_its_package(site: Path) -> None:
    anchors = set().union(*(page(path).anchors for path in (site / "reference" / "modules").glob("*.html")))
    wanted = [named for named in everything() if not named.name.startswith("norsim.commands")]
    missing = [
        named.name
        for named in wanted
        if (f"module-{named.name}" if isinstance(named.node, ast.Module) else named.name) not in anchors
    ]
    assert missing == [], "a new package needs a page in docs/reference/modules"


def test_equations_are_drawn_by_the_browser(site: Path) -> None:
    text = (site / "theory" / "array.html").read_text()
    assert text.count('<math xmlns="http://www.w3.org/1998/Math/MathML"') > 5 and "MathJax" not in text
