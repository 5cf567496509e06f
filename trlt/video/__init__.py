"""File to `Clip`: decoding, token budget, frame store, killable workers.

Knows files, frames and budgets; nothing of questions or models, and never torch. Most callers need `workers.ClipLoader` and
`resolve.VideoIndex` only; `decode.load_clip` reads one file in this process.
"""
