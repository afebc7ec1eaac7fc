"""The gate between training and serving: pure, with nothing but the standard library."""
