"""Faults of deployed models: servers that are slow, fail, hang or answer nonsense, as a client orders."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import SystemRandom
from typing import TYPE_CHECKING

from local_vertex.domain.errors import Unavailable
from local_vertex.server.faults import GARBAGE, FaultKind
from local_vertex.server.status import HTTP_STATUS

if TYPE_CHECKING:
    from local_vertex.api.messages import Message
    from local_vertex.run.ports import ModelServers
    from local_vertex.server.faults import Fault

_OK = 200
_WAITING = frozenset({FaultKind.DELAY, FaultKind.HANG})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFault:
    """The fault of a share of the requests to some deployed models, those deployed later included.

    `deployed_model` is a pattern for the id of a deployed model, or for its version, such as `taxi-fare@3`.
    """

    deployed_model: str
    fault: Fault
    share: float = 1.0

    def names(self, deployed: Message) -> bool:
        """Return whether the order is about this deployed model."""
        version = f"{deployed.model.rpartition('/')[2]}@{deployed.model_version_id}"
        return any(fnmatchcase(name, self.deployed_model) for name in (deployed.id, version))


class ModelFaults:
    """Asks model servers, with the faults that are ordered for them."""

    def __init__(self) -> None:
        self._planned: tuple[ModelFault, ...] = ()
        self._closing = threading.Event()
        self._random = SystemRandom()

    def plan(self, order: ModelFault) -> None:
        """Order a fault, which takes the place of an earlier one for the same pattern."""
        others = (each for each in self._planned if each.deployed_model != order.deployed_model)
        self._planned = (*others, order)

    def planned(self) -> tuple[ModelFault, ...]:
        """Return the orders in force."""
        return self._planned

    def clear(self) -> None:
        """Forget all orders."""
        self._planned = ()

    def close(self) -> None:
        """End all waiting."""
        self._closing.set()

    def ask(self, servers: ModelServers, deployed: Message, body: bytes) -> tuple[int, bytes]:
        """Return the answer of a deployed model's server, as `ModelServers.predict`, or that of its fault."""
        for order in self._planned:
            if order.names(deployed) and self._random.random() < order.share:
                return self._faulty(order.fault, servers, deployed, body)
        return servers.predict(deployed.id, body)

    def _faulty(
        self, fault: Fault, servers: ModelServers, deployed: Message, body: bytes
    ) -> tuple[int, bytes]:
        if fault.kind is FaultKind.FAIL:
            message = fault.message or f"the model fails with {fault.code.name}, as was ordered"
            return HTTP_STATUS[fault.code], json.dumps({"error": message}).encode()
        if fault.kind in _WAITING:
            self._closing.wait(fault.seconds)
        if fault.kind is FaultKind.HANG:
            raise Unavailable(f"deployed model '{deployed.id}' hung for {fault.seconds:g} s, as was ordered")
        answer = servers.predict(deployed.id, body)
        if fault.kind is FaultKind.LOSE_REPLY:
            raise Unavailable(f"deployed model '{deployed.id}' closed the connection, as was ordered")
        return (_OK, GARBAGE) if fault.kind is FaultKind.GARBAGE else answer
