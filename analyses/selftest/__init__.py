"""The self-test: closed forms of papers against what mesascope computes on this machine."""
