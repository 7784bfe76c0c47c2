"""Network definitions: norsim's own, ONNX files and users' Python files."""
