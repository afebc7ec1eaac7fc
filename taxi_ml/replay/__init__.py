"""The replay: what a policy would have shipped month by month, and the error that users would have met."""
