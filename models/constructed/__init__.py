"""Transformers whose weights we wrote, so that their mechanism is known."""
