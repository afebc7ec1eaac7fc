"""Generate the passwords and keys of the containers, once: `make_secrets.py FOLDER`.

Each is a file that only the containers' user can read. Existing files are kept, except for the password of
Airflow's admin if AIRFLOW_ADMIN_PASSWORD sets one; this password is printed for the user.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from pathlib import Path


def make(folder: Path, admin_password: str) -> str:
    """Write missing files in `folder`; return the password of Airflow's user admin."""
    database = _kept(folder / "database_password", secrets.token_urlsafe(24))
    _kept(folder / "database_url", f"postgresql+psycopg2://airflow:{database}@postgres/airflow")
    _kept(folder / "fernet_key", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    _kept(folder / "jwt_secret", secrets.token_hex(64))
    _kept(folder / "api_secret_key", secrets.token_hex(64))
    passwords = folder / "passwords.json"
    if admin_password:
        passwords.unlink(missing_ok=True)
    kept = _kept(passwords, json.dumps({"admin": admin_password or secrets.token_urlsafe(12)}))
    return str(json.loads(kept)["admin"])


def _kept(file: Path, fresh: str) -> str:
    """Return a file's content; a missing file is first written with `fresh`, atomically."""
    if not file.exists():
        draft = file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(fresh)
        draft.replace(file)
    return file.read_text()


if __name__ == "__main__":
    password = make(Path(sys.argv[1]), os.environ.get("AIRFLOW_ADMIN_PASSWORD", ""))
    sys.stdout.write(f"Log in to Airflow as admin with the password {password}\n")
