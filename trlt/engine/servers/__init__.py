"""A model that is asked over HTTP, in the way OpenAI's API has it, in place of one in this process."""
