"""`trlt serve`: a page on this machine that asks a model about a video, and the same as an OpenAI-compatible endpoint.

`guard` decides who may ask, `uploads` holds the videos, and `memory` counts what requests hold. `worker` has the one thread in
which the model runs, and `streaming` tells what it writes while it writes it, up to a text of `stops`. `page` and `openai` are
the two ways in, and `app` puts them together. See docs/decisions/serving.md.
"""
