"""DECIDES. No I/O, no clock, no chance, no logging: time and identity are arguments."""
