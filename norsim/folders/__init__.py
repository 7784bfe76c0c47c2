"""Folders that norsim writes to: the record of its files, the lock of the process at work, and who may write."""
