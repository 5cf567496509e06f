"""A model behind an OpenAI-compatible HTTP API, in place of one in this process."""
