"""The documents of a promotion: what is asked of a model before it serves, and what came of it."""
