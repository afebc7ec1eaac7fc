"""The errors of the local cloud, one class for each that a caller can handle differently."""

from __future__ import annotations


class LocalCloudError(Exception):
    """A failure whose message is one line: the problem, the value and the remedy."""


class MissingToolError(LocalCloudError):
    """A program or environment that `make setup` installs is missing."""


class PortInUseError(LocalCloudError):
    """A port of the local cloud is taken by another program."""


class ServiceFailedError(LocalCloudError):
    """A service stopped, or did not become healthy in time."""


class StateError(LocalCloudError):
    """The state folder cannot be used: unreadable, full, or of an unsuitable file system."""
