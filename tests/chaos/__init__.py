"""Kills the processes of a running DAG at random moments, and checks from the outside what is left."""
