"""What norsim's shipped networks keep on arrays: measured in parts, each one file in parts/, from which the pages of
results are written."""
