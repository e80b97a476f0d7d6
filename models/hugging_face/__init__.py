"""Language models of the transformers library: where their parts are, watched as they run."""
