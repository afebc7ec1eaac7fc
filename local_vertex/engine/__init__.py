"""Executes compiled pipelines, custom jobs and model servers; knows no wire and no storage."""
