"""Turns official files, or a user's own, into clean samples, and finds their videos."""
