"""mesascope's own transformers: in-context regression, and small language models."""
