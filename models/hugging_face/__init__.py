"""Language models of the transformers library as subjects."""
