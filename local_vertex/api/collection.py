"""Collections of protobuf resources over the store, with the errors that clients see."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from local_vertex.domain.errors import Aborted, AlreadyExists, NotFound
from local_vertex.store import DuplicateError

if TYPE_CHECKING:
    from local_vertex.api.messages import Message
    from local_vertex.store import Store


class Collection:
    """All resources of one kind, by default the name of their message; the key is the field `name`."""

    def __init__(self, store: Store, message_type: type[Message], *, kind: str = "") -> None:
        self._store = store
        self._type = message_type
        self._kind = kind or message_type.DESCRIPTOR.name

    def key(self, message: Message) -> str:
        """Return the part of a name that identifies a resource in this collection."""
        return str(message.name)

    def get(self, key: str) -> Message:
        """Return a resource; raises NotFound."""
        message = self.find(key)
        if message is None:
            raise NotFound(f"{self._kind} '{key}' does not exist")
        return message

    def find(self, key: str) -> Message | None:
        """Return a resource, or None."""
        body = self._store.find(self._kind, key)
        return None if body is None else self._parse(body)

    def insert(self, message: Message, parent: str) -> None:
        """Add a resource; raises AlreadyExists."""
        key = self.key(message)
        try:
            self._store.insert(self._kind, key, parent, seal(message).SerializeToString())
        except DuplicateError as error:
            raise AlreadyExists(f"{self._kind} '{key}' already exists; choose another id") from error

    def put(self, message: Message) -> None:
        """Replace a resource, which gets a new etag."""
        self._store.replace(self._kind, self.key(message), seal(message).SerializeToString())

    def delete(self, key: str) -> None:
        """Forget a resource."""
        self._store.delete(self._kind, key)

    def all(self, parent: str | None = None) -> list[Message]:
        """Return all resources, or those of `parent`, the newest first."""
        return [self._parse(body) for body in self._store.bodies(self._kind, parent)]

    def earlier(self, parent: str | None = None, *, age: float) -> list[Message]:
        """Return the result that `all` had `age` seconds ago, for the methods whose replicas lag behind."""
        return [self._parse(body) for body in self._store.earlier(self._kind, parent, age=age)]

    def _parse(self, body: bytes) -> Message:
        try:
            return self._type.FromString(body)
        except DecodeError as error:
            raise self._store.unreadable(self._kind, error) from error


def seal(message: Message) -> Message:
    """Set the message's etag, if it has one, from the rest of its content."""
    if "etag" in message.DESCRIPTOR.fields_by_name:
        message.etag = ""
        digest = hashlib.sha256(message.SerializeToString(deterministic=True)).digest()
        message.etag = base64.urlsafe_b64encode(digest[:18]).decode()
    return message


def check_etag(current: Message, expected: str) -> None:
    """Raise Aborted if the client's etag is not the resource's; an empty one skips the check."""
    if expected and expected != current.etag:
        raise Aborted(
            f"etag '{expected}' is not that of '{current.name}' ('{current.etag}'): "
            "it has changed since it was read; read it again, then retry"
        )
