"""Papers made again: what they claim, from our own trainings, with a verdict for each figure."""
