"""The models that `benchmarks/model.py` compares."""
