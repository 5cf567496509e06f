"""Statistics: intervals, weights of groups, and the rate of counted work."""
