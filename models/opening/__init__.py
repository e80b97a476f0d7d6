"""Opening checkpoints: the readers of all file formats, and the catalogue of shipped checkpoints."""
