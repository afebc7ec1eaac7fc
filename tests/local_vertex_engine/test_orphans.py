from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local_vertex_engine.test_cancel import STUBBORN, alive, until

# A server in miniature: starts one container, guarded or warm, and waits to be killed.
SERVER = """
import sys, time, json
from pathlib import Path
from local_vertex.processes.guarded import GuardedLauncher
from local_vertex.processes.warm import WarmLauncher, WarmSettings
from local_vertex.run.containers import Launch
from tests.local_vertex_engine.specs import image_table
folder, warm, argv = Path(sys.argv[1]), json.loads(sys.argv[2]), tuple(json.loads(sys.argv[3]))
images = image_table(PYTHONPATH=sys.argv[4])
launcher = reference = GuardedLauncher()
if warm:
    chosen = WarmSettings(preload=('stubborn',), log_dir=folder / 'warm')
    launcher = WarmLauncher(settings=chosen, images=images, reference=reference)
launch = Launch.of(images, 'test/x', argv, {}, folder / 'log.txt')
launcher.launch(launch)
print('started', flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize("warm", [False, True])
def test_nothing_outlives_a_server_that_is_killed(tmp_path: Path, *, warm: bool) -> None:
    """After SIGKILL of the server its containers end, with children that left their session."""
    pids_file = tmp_path / "pids"
    module = tmp_path / "modules" / "stubborn.py"
    module.parent.mkdir()
    module.write_text(f"import sys\nif __name__ == '__main__':\n    exec({STUBBORN!r})\n")
    argv = ["python", "-m", "stubborn", str(pids_file)]
    repository = str(Path(__file__).parents[2])
    arguments = [str(tmp_path), json.dumps(warm), json.dumps(argv), str(module.parent)]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, *arguments],
        env={**os.environ, "PYTHONPATH": repository},
        stdout=subprocess.PIPE,
    )
    try:
        until(lambda: pids_file.exists() and len(pids_file.read_text().split()) == 3)
        pids = [int(pid) for pid in pids_file.read_text().split()]
    finally:
        server.send_signal(signal.SIGKILL)
        server.communicate()
    until(lambda: not any(alive(pid) for pid in pids))

    assert [pid for pid in pids if alive(pid)] == []
