"""Rows that several processes or machines write together, without talking to each other."""
