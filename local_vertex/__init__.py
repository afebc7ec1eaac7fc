"""A local Vertex AI: google.cloud.aiplatform.v1 over gRPC and REST, with pipelines that really run."""
