"""Few-shot tasks as a language model reads them, and how it answers: shared by the probes of in-context learning."""
