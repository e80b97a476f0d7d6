"""The probe spectral-filter: how much of each eigendirection of a context a model has learned."""
