"""What is checked before a run spends anything."""
