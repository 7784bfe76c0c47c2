"""The defaults of the proof. This module imports nothing, because the help of commands shows them."""

from __future__ import annotations

# Reads of the random sample that a simulator solves again. If n reads have no larger error than e, at most a share of
# 1 - 0.05^(1/n) of all reads has, with 95 % confidence: with 59 reads, 5 %.
SPICE_SAMPLE = 59
# Reads that a run keeps: of every tile, and of all reads, so that more can be verified later than during the run.
PER_TILE, AT_RANDOM = 4, 200
# The first chunk of images of the end-to-end proof, which is always classified, and the largest chunk.
FIRST_CHUNK, LARGEST_CHUNK = 4, 100
# Without a wanted number of images: as many as have this number of multiply-accumulates together, and the bounds on it.
# It does not depend on the machine, so that a repeated run gives the same numbers.
BUDGET_MACS, LEAST_IMAGES, MOST_IMAGES = 120e6, 30, 1000
