"""The periphery of an array: encodings, program-verify, converters, energy."""
