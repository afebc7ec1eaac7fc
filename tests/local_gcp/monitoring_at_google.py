"""Uses Google's client for Cloud Monitoring with its defaults, and prints what it gets."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import monitoring_v3

NOW = int(time.time())
REQUEST: Any = {
    "name": "projects/taxi-local",
    "filter": 'metric.type = "aiplatform.googleapis.com/prediction/online/error_count"',
    "interval": {"start_time": {"seconds": NOW - 60}, "end_time": {"seconds": NOW}},
}


def nobody() -> AnonymousCredentials:
    """Return the credentials of nobody."""
    return AnonymousCredentials()  # type: ignore[no-untyped-call]  # google.auth has none


async def asynchronous() -> list[str]:
    """Return the series that the asynchronous client finds."""
    client = monitoring_v3.MetricServiceAsyncClient(credentials=nobody())
    return [str(each) async for each in await client.list_time_series(request=REQUEST)]


if __name__ == "__main__":
    client = monitoring_v3.MetricServiceClient(credentials=nobody())
    answer = {
        "at": client.api_endpoint,
        "series": [str(each) for each in client.list_time_series(request=REQUEST)],
        "asynchronous": asyncio.run(asynchronous()),
    }
    print(json.dumps(answer))  # noqa: T201  # its answer
