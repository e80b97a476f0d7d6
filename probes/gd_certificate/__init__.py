"""Is a step of gradient descent written in the weights of linear attention? See `probe.py`."""
