"""What Airflow lacks for Vertex AI: jobs that are never doubled nor orphaned, and a promotion that is atomic."""
