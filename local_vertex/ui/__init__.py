"""Pages on which a person can look at the local Vertex AI; they only read."""
