"""Read by SGLang, in its own process: see `vision.py`."""
