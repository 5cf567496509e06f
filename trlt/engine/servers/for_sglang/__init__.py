"""A folder for the PYTHONPATH of an SGLang server; holds nothing but the package `trlt_sglang`."""
