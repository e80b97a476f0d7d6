"""A model beside candidates: what both answer on the same tasks, and how far apart that is."""
