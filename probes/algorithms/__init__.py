"""Named algorithms of in-context linear regression, for tensors from anywhere: filters, fits, predictions."""
