"""neurocodec: a neural image codec."""
