"""One module per command: a function whose parameters carry its options, listed in `_table.py`. The work is done elsewhere.

Every function takes an `Output` and returns the JSON value that `--json` prints.
"""
