"""Google Cloud on this machine: BigQuery, Cloud Storage and Vertex AI as local servers."""
