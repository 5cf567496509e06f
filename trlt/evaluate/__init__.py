"""Predictions become metrics with intervals, and two runs are compared question by question."""
