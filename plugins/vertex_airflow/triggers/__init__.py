"""Triggers: wait without a worker slot, cancel when killed."""
