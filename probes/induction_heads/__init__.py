"""induction-heads: which heads do induction, and what is lost without them?"""
