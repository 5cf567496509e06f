"""One module a command: a plain function with typed arguments that `trlt.cli` calls. Glue; the work is done elsewhere.

Every function takes an `Output` and returns the JSON value that `--json` prints.
"""
