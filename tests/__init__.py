"""Tests. Each of their processes has one thread: `make test` runs one process on each core, and no result may depend on
the number of cores."""

import os

for _variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
