"""The accuracies that norsim's shipped networks keep: run by `make results`, written to docs/results.md."""
