"""Statistics: intervals, and the rate of counted work."""
