"""Vertex AI for Airflow: jobs that are never doubled nor orphaned, and safe promotion."""
