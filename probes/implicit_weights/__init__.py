"""The probe implicit-weights: the linear model that a transformer holds after each layer."""
