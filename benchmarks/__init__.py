"""Benchmarks of norsim's solvers: `python -m benchmarks` measures every claim and writes docs/performance.md."""
