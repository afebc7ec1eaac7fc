"""What Airflow lacks for Vertex AI: jobs that are never doubled nor orphaned, and safe promotion."""
