"""The cost and duration of a run on Google Cloud, from the number of things it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MINUTES: Final = 60
"""The duration of a run: two deployments one after the other, and what runs beside them."""
SOURCE: Final = (
    "list prices of us-central1 as known in November 2026; "
    "today's are at https://cloud.google.com/vertex-ai/pricing"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A number of things; ``usd`` is the price of one, or of one hour if they take ``hours``."""

    what: str
    count: int
    usd: float
    hours: float = 0.0

    @property
    def cost(self) -> float:
        """The price of all."""
        return self.count * self.usd * (self.hours or 1.0)

    def __str__(self) -> str:
        """Return the line of the estimate."""
        each = f" x {self.hours:g} h at {self.usd:g} USD an hour" if self.hours else f" at {self.usd:g} USD"
        return f"{self.count} {self.what}{each}: {self.cost:.2f} USD"


# Start-up counts: a task of a second has its machine for some minutes.
ITEMS: Final = (
    Item(what="pipeline runs", count=7, usd=0.03),
    Item(what="tasks of pipelines, e2-standard-4", count=9, usd=0.154, hours=0.1),
    Item(what="custom jobs, e2-standard-4", count=3, usd=0.154, hours=0.1),
    Item(what="deployed models, e2-standard-2", count=2, usd=0.077, hours=0.75),
)


def estimate() -> str:
    """Return the lines that say what a run costs and how long it takes."""
    total = sum(item.cost for item in ITEMS)
    left = sum(item.count * item.usd * 24 for item in ITEMS if item.what.startswith("deployed"))
    return "\n".join(
        [
            f"Takes about {MINUTES} minutes and costs about {total:.2f} USD:",
            *(f"  {item}" for item in ITEMS),
            f"  ({SOURCE})",
            f"Deployed models that a failed clean-up leaves behind cost {left:.2f} USD a day: sweep.",
        ]
    )
