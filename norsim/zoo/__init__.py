"""Network definitions: those of norsim, ONNX files and Python files of users."""
