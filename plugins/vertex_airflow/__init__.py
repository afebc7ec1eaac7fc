"""Vertex AI for Airflow: jobs that are never duplicated or orphaned, and safe promotion of models."""
