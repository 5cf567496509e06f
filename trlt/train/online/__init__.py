"""Online data selection: which prompts are asked next, by what earlier groups earned (`train.online`).

One history (`history`) is exchanged, written and read again, and all state is made from its rows alone: `skipping`,
`estimates`, `curriculum`, `staleness` and `replay` each take a step's rows, and `choice` reads them. `selection` is what the
trainer holds.
"""
