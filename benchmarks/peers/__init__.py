"""`python -m benchmarks.peers`: aihwkit, aihwkit-lightning, CrossSim and norsim on the same network and the same tile.

Nothing of these packages is part of norsim. Each runs in a Python of its own, from the script `in_NAME.py`, which reads
a folder of arrays (`job.py`) and writes another; those scripts import no norsim but its definition of the network."""
