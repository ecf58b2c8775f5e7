"""Bytes that nobody thinks of, for everything that strangers may send us: see docs/fuzzing.md."""
