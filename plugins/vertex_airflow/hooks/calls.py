"""How every call to Vertex AI is made, whichever client makes it."""

from __future__ import annotations

CALL_TIMEOUT = 30.0  # seconds
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 60_000),
)
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
