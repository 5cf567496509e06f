"""Turns predictions into metrics with intervals, and compares two runs question by question."""
