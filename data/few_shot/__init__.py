"""Few-shot tasks: examples of a file or of a rule, drawn as demonstrations and queries."""
