"""The engine and the shared prefix on a GPU, against the library: `python -m bench.gpu`. Needs torch and transformers alone."""

import time

BEGAN = time.monotonic()
"""Before the imports of the libraries, which take their share of the minutes."""
