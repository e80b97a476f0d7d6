"""Constructed models: transformers with hand-written weights and a known mechanism."""
