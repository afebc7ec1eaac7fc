"""What Vertex AI is about, in plain Python: names, errors and states; no wire, no storage."""
