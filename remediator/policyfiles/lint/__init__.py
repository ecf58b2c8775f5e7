"""What reviewers want to know: the checks of every policy, what shows across files, and how it is told."""
