"""One module per command: a function whose parameters carry their options, listed in `trlt.cli`. Glue; the work is done elsewhere.

Every function takes an `Output` and returns the JSON value that `--json` prints.
"""
