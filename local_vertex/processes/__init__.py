"""Implements the engine's ports on this machine: child processes, warm executors, local folders."""
