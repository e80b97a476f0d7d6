"""Timelines: several probes on one time axis, from finished reports of single checkpoints."""
