"""The probe icl-algorithm: a contest of named algorithms for what a model does in context."""
