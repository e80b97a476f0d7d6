"""Opening checkpoints: every kind of file that is read, and the catalogue of those that ship."""
