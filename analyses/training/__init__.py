"""Training: recipes, what they minimise, and runs that can be interrupted."""
