"""The gate between training and serving: pure functions, standard library only."""
