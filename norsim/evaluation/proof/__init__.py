"""The proof of a run: reads are drawn while it runs, and solved again by other solvers afterwards."""
