"""Statistics, shared by all probes: intervals, tests and ranks."""
