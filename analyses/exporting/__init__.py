"""Reports in other people's places: tables of several models for papers and pages, runs at Weights & Biases."""
