"""What stands around an array: encodings, program-verify, converters, energy."""
