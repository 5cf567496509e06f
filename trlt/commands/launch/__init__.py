"""One command becomes several processes: of a training, or of ranks that share a run's folder."""
