"""Layers read in torch, on the device of their inputs."""
