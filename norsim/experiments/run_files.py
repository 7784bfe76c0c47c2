"""The names of the files in a run folder."""

from __future__ import annotations

CHECKSUMS, MANIFEST, SUMMARY = "checksums.sha256", "manifest.json", "summary.json"
# Files that differ between a run and its repetition, or are written after the checksums.
UNCHECKED = {CHECKSUMS, "events.jsonl", "timing.json", MANIFEST, SUMMARY}
# What a resumed run keeps.
KEPT = {"config.resolved.yaml", "events.jsonl", MANIFEST}
KEPT_FOLDERS = {"units", "network"}
