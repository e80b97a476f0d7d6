"""token-norms: how long are token representations, and what goes with it?"""
