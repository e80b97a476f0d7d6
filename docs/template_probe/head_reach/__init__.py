"""head-reach: how far back does each attention head look? A template for a probe of your own."""
