"""The model card of a run: its report and decision as one HTML page that needs nothing else."""

from taxi_ml.card.page import render

__all__ = ["render"]
