"""Runs: a probe on one checkpoint or on a family of them; reports made again and compared."""
