"""Stories about policies, told in YAML and played by the real core in virtual time.

`reading` turns files into stories, `teller` plays one on a `scene`, `expectations` compares, `telling`
says what went wrong, `coverage` what no story reached, `running` does all of it for many files.
"""
