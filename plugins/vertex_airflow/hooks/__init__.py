"""The only place that holds Vertex AI clients."""
