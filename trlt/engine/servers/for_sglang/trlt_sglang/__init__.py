"""Read by SGLang, in its own process: see `rate.py`."""
