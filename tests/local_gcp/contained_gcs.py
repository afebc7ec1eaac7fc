"""Cloud Storage run as a container runs it, on ports of loopback: `contained_gcs.py STATE PORT READY`."""

from __future__ import annotations

import sys
from pathlib import Path

from local_gcp.container import run
from local_gcp.layout import Layout
from local_gcp.services import GCS, Setting

if __name__ == "__main__":
    state, port, ready = sys.argv[1:]
    where = Setting(layout=Layout(state=Path(state)), ports={"gcs": int(port)})
    sys.exit(run(GCS, where, Path(ready)))
