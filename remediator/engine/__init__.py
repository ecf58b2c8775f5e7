"""DRIVES: loads, lets the core decide, commits once, then touches the world."""
