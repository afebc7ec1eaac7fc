"""A model server as small as Vertex AI's container contract allows, for tests."""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers health checks, and doubles the instances."""

    def do_GET(self) -> None:
        """Answer the health route only."""
        self._answer(200 if self.path == os.environ["AIP_HEALTH_ROUTE"] else 404, {})

    def do_POST(self) -> None:
        """Double each instance, which must be a number."""
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            self._answer(200, {"predictions": [float(each) * 2 for each in content["instances"]]})
        except TypeError:
            self._answer(400, {"error": "instances: expected numbers"})

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(os.environ["AIP_HTTP_PORT"])), Handler).serve_forever()
