"""Official files, or a user's own, become clean samples; and which of their videos are there."""
