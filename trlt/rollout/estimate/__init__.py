"""The cost of probing a pool, estimated from a random part of it."""
