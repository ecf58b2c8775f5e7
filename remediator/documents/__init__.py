"""YAML as people write it, with the place of everything: for policies and for the settings alike."""

from remediator.documents.finding import Finding, Severity, nearest
from remediator.documents.reading import Document, Place, Position, read, read_file, resolve

__all__ = ["Document", "Finding", "Place", "Position", "Severity", "nearest", "read", "read_file", "resolve"]
