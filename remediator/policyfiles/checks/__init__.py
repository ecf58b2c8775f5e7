"""What may be wrong with one policy: looked for whenever one is loaded."""
