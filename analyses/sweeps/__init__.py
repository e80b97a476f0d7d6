"""Sweeps: probes on many checkpoints, at once and in any order. The output folder says what is finished."""
