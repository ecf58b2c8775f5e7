"""What changed between two sets of policies, in words, and whether anything was loosened."""
