"""Runs commands and prints each of them; a dry run only prints."""

from __future__ import annotations

import shlex
import subprocess
import sys


class CommandError(Exception):
    """A command failed; its output is on the terminal."""


class Shell:
    """Runs commands in this process's folder and environment."""

    def __init__(self, *, dry_run: bool) -> None:
        self.dry_run = dry_run

    def run(self, *command: str) -> None:
        """Run a command that changes something.

        Raises:
            CommandError: it is not installed, or failed.

        """
        self._print(command)
        if not self.dry_run:
            _checked(command, capture=False)

    def ask(self, *command: str, pretended: str) -> str:
        """Return the output of a read-only command; in a dry run, return `pretended` without running it."""
        self._print(command)
        return pretended if self.dry_run else _checked(command, capture=True).strip()

    def succeeds(self, *command: str) -> bool:
        """Return True if a read-only command succeeds; always False in a dry run."""
        self._print(command)
        return not self.dry_run and subprocess.run(command, check=False, capture_output=True).returncode == 0

    @staticmethod
    def say(text: str) -> None:
        """Print a line that is not a command."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def _print(self, command: tuple[str, ...]) -> None:
        self.say(f"+ {shlex.join(command)}")


def _checked(command: tuple[str, ...], *, capture: bool) -> str:
    try:
        ended = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE if capture else None)
    except FileNotFoundError as error:
        raise CommandError(f"{command[0]} is not installed, or not on the PATH") from error
    if ended.returncode:
        raise CommandError(f"`{shlex.join(command)}` exited with status {ended.returncode}")
    return ended.stdout or ""
