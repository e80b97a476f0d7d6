"""The probe shift-battery: which rule a model follows on other tasks than those of its training."""
