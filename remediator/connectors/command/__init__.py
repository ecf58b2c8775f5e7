"""Commands on this machine. `connector` says what becomes of each call; begin there."""

from remediator.connectors.command.connector import KIND, READ, RUN, Commands, CommandSettings

__all__ = ["KIND", "READ", "RUN", "CommandSettings", "Commands"]
