"""The model card of a run: its report and decision as one self-contained HTML page."""

from taxi_ml.card.page import render

__all__ = ["render"]
