"""The model server: Vertex AI's container contract over a SavedModel."""
