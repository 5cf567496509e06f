"""What numbers say: intervals, and how fast counted work goes."""
