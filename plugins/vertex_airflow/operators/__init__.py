"""Operators: validate, submit or attach, defer, explain."""
