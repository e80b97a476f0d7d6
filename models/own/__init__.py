"""Transformers of our own: in-context regression, and attention-only language models."""
