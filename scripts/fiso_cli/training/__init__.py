"""Training by hand: the packaged prior, and a retraining on demand."""
