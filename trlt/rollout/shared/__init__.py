"""Rows that several processes or machines write together, without asking each other."""
