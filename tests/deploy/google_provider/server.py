"""A Terraform provider that knows a schema and nothing else: it accepts every value, and makes nothing.

Terraform starts it like any provider, checks a configuration against its schema, plans and applies. What
would be known only after a resource was created is made up. It speaks version 6 of the plugin protocol,
without TLS (TF_DISABLE_PLUGIN_TLS=1): https://developer.hashicorp.com/terraform/plugin/terraform-plugin-protocol
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import msgpack
from tf.gen import tfplugin_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    # As in `terraform providers schema -json`.
    Block = dict[str, Any]
    Kind = str | list[Any]

UNKNOWN = msgpack.ExtType(0, b"\x00")
_EMPTY: dict[str, object] = {"number": 0, "bool": False, "map": {}, "list": [], "set": []}


def made_up(name: str, kind: Kind) -> object:
    """Return a value for an attribute that only a cloud could fill; strings say so."""
    if kind == "string":
        return f"{name}@made-up.example"
    return _EMPTY[kind if isinstance(kind, str) else kind[0]]


def filled(block: Block, value: object, lacking: object, fill: Callable[[str, Kind], object]) -> object:
    """Return a block's value in which `fill` gives every computed attribute that is `lacking`."""
    if not isinstance(value, dict):
        return value
    nested = {
        name: [filled(found["block"], each, lacking, fill) for each in value[name]]
        for name, found in block["block_types"].items()
        if isinstance(value[name], list)
    }
    computed = {
        name: fill(name, attribute["type"])
        for name, attribute in block["attributes"].items()
        if attribute["computed"] and value[name] == lacking
    }
    return {**value, **nested, **computed}


def unconfigurable(block: Block, value: object) -> list[pb.Diagnostic]:
    """Return an error for each attribute that a configuration sets although only the provider can."""
    if not isinstance(value, dict):
        return []
    found = [
        pb.Diagnostic(severity=pb.Diagnostic.ERROR, summary="Value for unconfigurable attribute", detail=name)
        for name, attribute in block["attributes"].items()
        if attribute["computed"] and not attribute["optional"] and value[name] is not None
    ]
    for name, nested in block["block_types"].items():
        for each in value[name] if isinstance(value[name], list) else []:
            found += unconfigurable(nested["block"], each)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Answers Terraform's calls; each method returns the fields of the protocol's response."""

    schemas: dict[str, Any]

    def answers(self) -> dict[str, Callable[[Any], dict[str, Any]]]:
        """Return the method for each of the protocol's calls."""
        return {
            "GetProviderSchema": self.schema,
            "ValidateProviderConfig": lambda _: {},
            "ValidateResourceConfig": self.validate,
            "ValidateDataResourceConfig": lambda _: {},
            "ConfigureProvider": lambda _: {},
            "PlanResourceChange": self.plan,
            "ApplyResourceChange": self.apply,
            "ReadDataSource": self.read,
            "ReadResource": lambda request: {"new_state": request.current_state},
            "UpgradeResourceState": lambda request: {"upgraded_state": {"json": request.raw_state.json}},
            "StopProvider": lambda _: {},
        }

    def schema(self, _request: pb.GetProviderSchema.Request) -> dict[str, Any]:
        """Return the schema of a configuration."""
        kinds = ("resource_schemas", "data_source_schemas")
        several = {kind: {name: _schema(each) for name, each in self.schemas[kind].items()} for kind in kinds}
        return {"provider": _schema(self.schemas["provider"]), **several}

    def validate(self, request: pb.ValidateResourceConfig.Request) -> dict[str, Any]:
        """Check what Terraform leaves to providers, as far as the schema says it."""
        return {"diagnostics": unconfigurable(self._block(request), _decoded(request.config))}

    def plan(self, request: pb.PlanResourceChange.Request) -> dict[str, Any]:
        """Leave unset attributes unknown if a cloud would compute them."""
        proposed = _decoded(request.proposed_new_state)
        planned = filled(self._block(request), proposed, None, lambda _name, _kind: UNKNOWN)
        return {"planned_state": _encoded(planned)}

    def apply(self, request: pb.ApplyResourceChange.Request) -> dict[str, Any]:
        """Make up the values that the plan left unknown."""
        state = filled(self._block(request), _decoded(request.planned_state), UNKNOWN, made_up)
        return {"new_state": _encoded(state)}

    def read(self, request: pb.ReadDataSource.Request) -> dict[str, Any]:
        """Make up the result of a data source."""
        block = self.schemas["data_source_schemas"][request.type_name]["block"]
        return {"state": _encoded(filled(block, _decoded(request.config), None, made_up))}

    def _block(self, request: pb.PlanResourceChange.Request) -> Block:
        found: Block = self.schemas["resource_schemas"][request.type_name]["block"]
        return found


def _schema(schema: dict[str, Any]) -> pb.Schema:
    return pb.Schema(version=schema["version"], block=_block(schema["block"]))


def _block(block: Block) -> pb.Schema.Block:
    attributes = [
        pb.Schema.Attribute(**{**attribute, "type": json.dumps(attribute["type"]).encode()}, name=name)
        for name, attribute in block["attributes"].items()
    ]
    blocks = [
        pb.Schema.NestedBlock(
            type_name=name,
            block=_block(nested["block"]),
            nesting=nested["nesting_mode"].upper(),
            min_items=nested.get("min_items"),
            max_items=nested.get("max_items"),
        )
        for name, nested in block["block_types"].items()
    ]
    return pb.Schema.Block(attributes=attributes, block_types=blocks)


def _decoded(value: pb.DynamicValue) -> object:
    return msgpack.unpackb(value.msgpack, ext_hook=lambda _code, _bytes: UNKNOWN)


def _encoded(value: object) -> pb.DynamicValue:
    return pb.DynamicValue(msgpack=msgpack.packb(value))


def _handler(name: str, answer: Callable[[Any], dict[str, Any]]) -> grpc.RpcMethodHandler[Any, Any]:
    messages = getattr(pb, name)
    return grpc.unary_unary_rpc_method_handler(
        lambda request, _context: messages.Response(**answer(request)),
        request_deserializer=messages.Request.FromString,
        response_serializer=messages.Response.SerializeToString,
    )


def serve(provider: Provider) -> None:
    """Print the address in go-plugin's format, and serve until Terraform stops the server."""
    server = grpc.server(ThreadPoolExecutor())

    def shut_down(empty: bytes, _context: grpc.ServicerContext) -> bytes:
        server.stop(grace=1)
        return empty

    handlers = {name: _handler(name, answer) for name, answer in provider.answers().items()}
    ending = {"Shutdown": grpc.unary_unary_rpc_method_handler(shut_down)}
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("tfplugin6.Provider", handlers),
            grpc.method_handlers_generic_handler("plugin.GRPCController", ending),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"1|6|tcp|127.0.0.1:{port}|grpc\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(Provider(schemas=json.loads(Path(sys.argv[1]).read_text())))
