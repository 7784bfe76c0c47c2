"""CITATION.cff agrees with setup.cfg and the README."""

from __future__ import annotations

import configparser
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_the_citation_is_complete_and_of_this_version() -> None:
    """It has the keys required by version 1.2.0 of the format, and its values agree with other files."""
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert content["cff-version"] == "1.2.0" and content["message"] and content["type"] == "software"
    assert content["authors"] == [{"name": "The norsim developers"}]
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    for key in ("version", "license"):
        assert content[key] == metadata["metadata"][key]
    assert content["title"] == metadata["metadata"]["name"]
    assert {word.strip() for word in metadata["metadata"]["keywords"].split(",")} >= set(content["keywords"])


def test_the_paper_is_the_one_of_the_readme() -> None:
    (paper,) = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    text = " ".join((ROOT / "README.md").read_text().split())
    one, other = (f"{author['family-names']} {author['given-names']}" for author in paper["authors"])
    assert f'{one} and {other}, "{paper["title"]}" ({paper["year"]}, DOI [{paper["doi"]}]' in text
