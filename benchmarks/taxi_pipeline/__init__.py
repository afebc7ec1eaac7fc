"""The taxi pipeline, run and measured in several ways."""
