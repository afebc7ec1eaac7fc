"""The two doors of the local Vertex AI, gRPC and REST, over one table of methods."""
