"""The parts of a machine that an engine could change, compared before and after."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.compose.engine import run
from tests.compose.progress import ProofError

_PROC = Path("/proc")
_OF_ENGINES = frozenset({"dockerd", "containerd", "containerd-shim", "docker-proxy", "docker-init"})
_SETTINGS = frozenset({"rules", "forwards"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Its network, mounts and Docker processes."""

    interfaces: frozenset[str]
    rules: frozenset[str]
    forwards: frozenset[str]
    mounts: frozenset[str]
    processes: frozenset[str]


def look() -> Machine:
    """Look at the machine now."""
    return Machine(
        interfaces=frozenset(path.name for path in Path("/sys/class/net").iterdir()),
        rules=_rules(),
        forwards=frozenset((_PROC / "sys/net/ipv4/ip_forward").read_text().split()),
        mounts=frozenset(line.split()[1] for line in (_PROC / "mounts").read_text().splitlines()),
        processes=frozenset(_processes()),
    )


def require_unchanged(before: Machine) -> None:
    """Raise ProofError naming additions, and settings that are gone; another engine may end meanwhile."""
    after = look()
    changes = []
    for name in Machine.__slots__:
        old, new = getattr(before, name), getattr(after, name)
        went = old - new if name in _SETTINGS else ()
        if new - old or went:
            changes.append(f"{name}: {sorted(new - old)} came, {sorted(went)} went")
    if changes:
        raise ProofError(f"the machine is not as it was: {'; '.join(changes)}")


def _rules() -> frozenset[str]:
    """Return the packet filter's rules without counters and dates."""
    saved = run(["iptables-save"], os.environ)
    return frozenset(line for line in saved.splitlines() if not line.startswith(("#", ":")))


def _processes() -> list[str]:
    found = []
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                name = (folder / "comm").read_text().strip()
            except OSError:
                continue
            if name in _OF_ENGINES:
                found.append(f"{name} {folder.name}")
    return found
