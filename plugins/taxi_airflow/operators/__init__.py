"""Operators of the product: pin the run, check, count, export, compile, decide."""
