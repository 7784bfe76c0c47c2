"""Inputs of networks in general: which samples are read, and tensors in tuples and dicts."""
