"""Tests. Each test process has one thread: `make test` runs one process per core, and no result may depend on the
number of cores."""
