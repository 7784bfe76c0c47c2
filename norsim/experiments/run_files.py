"""The names of the files in a run folder."""

from __future__ import annotations

CHECKSUMS, MANIFEST, SUMMARY = "checksums.sha256", "manifest.json", "summary.json"
# Files that change after the checksums, and the checksums themselves; summary.json has a line of its own.
UNCHECKED = {CHECKSUMS, "events.jsonl", "timing.json", SUMMARY}
# Folders without lines there: units have checksums of their own, and figures are made again with the report.
UNCHECKED_FOLDERS = {"units", "figures"}
# What a resumed run keeps.
KEPT = {"config.resolved.yaml", "events.jsonl", MANIFEST}
KEPT_FOLDERS = {"units", "network"}
