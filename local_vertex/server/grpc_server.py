"""The gRPC door: generic handlers over the table of methods."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from local_vertex.domain.errors import InvalidArgument, Unimplemented, VertexError
from local_vertex.server import faults, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from local_vertex.api.messages import Message
    from local_vertex.server.methods import Method

if TYPE_CHECKING:
    _GenericHandler: TypeAlias = grpc.GenericRpcHandler[Any, Any]
    _MethodHandler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
else:  # generic in the stubs only
    _GenericHandler = grpc.GenericRpcHandler

THREADS = 32
STOP_GRACE = 2.0
# How a client of gRPC hears of a connection that was closed before the reply.
_CLOSED = "Socket closed"
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)


class PortInUseError(OSError):
    """The port that the server was told to use is taken."""


class _Handlers(_GenericHandler):
    """Finds the handler of a path; paths outside of the table are refused with a reason."""

    def __init__(self, methods: Iterable[Method], dispatch: faults.Dispatch) -> None:
        self._handlers = {method.path: _handler(method, dispatch) for method in methods}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _MethodHandler:
        path = handler_call_details.method
        return self._handlers.get(path) or grpc.unary_unary_rpc_method_handler(_refusal(path))


def _handler(method: Method, dispatch: faults.Dispatch) -> _MethodHandler:
    def answer(body: bytes, context: grpc.ServicerContext) -> Message | bytes:
        order = dict(context.invocation_metadata() or ()).get(faults.HEADER, "")
        try:
            return dispatch(method, _request(method, body), str(order))
        except faults.GarbledReplyError:
            return faults.GARBAGE
        except faults.LostReplyError:
            context.abort(grpc.StatusCode.UNAVAILABLE, _CLOSED)
            raise
        except VertexError as error:
            context.abort_with_status(rpc_status.to_status(status.to_status(error)))
            raise

    return grpc.unary_unary_rpc_method_handler(answer, response_serializer=_serialize)


def _request(method: Method, body: bytes) -> Message:
    """Return a request; bytes that are not one are INVALID_ARGUMENT, where gRPC itself would say INTERNAL."""
    if method.handler is None or method.request_type is None:
        raise status.unsupported(method)
    try:
        return method.request_type.FromString(body)
    except DecodeError as error:
        raise InvalidArgument(f"the request is not a {method.rpc}Request: {error}") from error


def _serialize(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else bytes(message.SerializeToString())


def _refusal(path: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    error = Unimplemented(
        f"'{path}' is not a method of google.cloud.aiplatform.v1, or of Cloud Monitoring's MetricService; "
        "the local Vertex AI serves v1 only"
    )

    def refuse(_request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort_with_status(rpc_status.to_status(status.to_status(error)))
        return b""

    return refuse


class GrpcServer:
    """A plaintext gRPC server on loopback."""

    def __init__(
        self,
        methods: Iterable[Method],
        *,
        host: str,
        port: int,
        dispatch: faults.Dispatch = faults.faultless,
    ) -> None:
        """Bind the port (0: any); raises PortInUseError."""
        self._server = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"),
            handlers=[_Handlers(methods, dispatch)],
            options=_OPTIONS,
        )
        try:
            self.port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise PortInUseError(f"port {port} of {host} is in use; choose another --grpc-port") from error

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self) -> None:
        """Take no new calls, and end the ones that run after a grace of two seconds."""
        self._server.stop(STOP_GRACE).wait()
