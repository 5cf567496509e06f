"""What asking a pool would cost, from a drawn part of it."""
