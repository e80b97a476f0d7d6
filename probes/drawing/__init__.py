"""Drawing, shared by all figures: a page with its styles, the marks on it, and panels of curves."""
