"""The embedded default: a small synthetic world in the layouts of the real data, and a tiny model that ships with trlt."""
