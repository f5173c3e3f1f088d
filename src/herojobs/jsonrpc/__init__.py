"""JSON-RPC 2.0 on msgspec: messages for those who answer and those who call, and a dispatcher of typed methods.

Knows nothing of jobs, transports or sessions. Source: https://www.jsonrpc.org/specification.
"""

from herojobs.errors import RpcError
from herojobs.jsonrpc.dispatcher import Dispatcher
from herojobs.jsonrpc.messages import (
    Answer,
    Request,
    encode_batch,
    encode_error,
    encode_request,
    encode_result,
    read_answers,
    read_requests,
)
from herojobs.jsonrpc.methods import Example, Method, Methods, Param

__all__ = [
    "Answer", "Dispatcher", "Example", "Method", "Methods", "Param", "Request", "RpcError", "encode_batch",
    "encode_error", "encode_request", "encode_result", "read_answers", "read_requests",
]  # fmt: skip
