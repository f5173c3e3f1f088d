"""A server on this machine that speaks chat completions and says what it is told to."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

PIECE = 12
"""Characters of one piece of a streamed answer."""


@dataclass(kw_only=True)
class Answer:
    """What a model answers.

    Attributes:
        text: the text; may be empty where there are tool calls.
        tool_calls: tools that it wants called: name and arguments of each.
        finish_reason: why it stopped; empty = `stop`, or `tool_calls` where there are some.
        input_tokens: tokens sent; None = counted roughly.
        output_tokens: tokens of the answer; None = counted roughly.
        status: the HTTP status; from 400 on the answer is an error whose message is `text`.
        headers: further headers, such as Retry-After.
    """

    text: str = ""
    tool_calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Wire(BaseHTTPRequestHandler):
    """One connection of a `ModelServer`; a test that wants a faulty answer writes it here itself."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Answer with the list of models."""
        self._send(200, {"object": "list", "data": [{"id": "test", "object": "model"}]}, {})

    def do_POST(self) -> None:
        """Answer a request as the server's owner says."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request: dict[str, Any] = json.loads(body)
        owner = self.server.owner
        with owner.lock:
            owner.requests.append(request)
            owner.keys.append(self.headers.get("Authorization", "").removeprefix("Bearer "))
        answer = owner.answer(request)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it was given up
            if not isinstance(answer, Answer):
                answer(self)
            elif answer.status >= 400:
                error = {"message": answer.text, "type": "error", "code": None}
                self._send(answer.status, {"error": error}, answer.headers)
            elif request.get("stream"):
                self._stream(request, answer)
            else:
                self._send(200, _whole(request, answer), answer.headers)

    def start_stream(self) -> None:
        """Send the head of a streamed answer."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def piece(self, text: str = "", **more: Any) -> None:
        """Send a piece of a streamed answer."""
        choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": None} | more
        self.event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "test", "choices": [choice]})

    def event(self, data: dict[str, Any] | str) -> None:
        """Send one event of a stream."""
        self.wfile.write(f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def _stream(self, request: dict[str, Any], answer: Answer) -> None:
        self.start_stream()
        for start in range(0, len(answer.text), PIECE):
            self.piece(answer.text[start : start + PIECE])
        if answer.tool_calls:
            self.piece(delta={"tool_calls": [each | {"index": i} for i, each in enumerate(_calls(answer))]})
        self.piece(finish_reason=_reason(answer))
        usage = _usage(request, answer)
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "test", "choices": []}
        self.event(chunk | {"usage": usage})
        self.event("[DONE]")

    def _send(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Type": "application/json", "Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the base class
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: ModelServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that the other side gave up."""


class ModelServer:
    """Serves chat completions on 127.0.0.1 while its `with` block runs, in threads of this process.

        with ModelServer(lambda request: Answer(text="hello")) as server:
            hero = HeroJobs(ai=server.settings)

    Args:
        answer: gives the answer to a request, or a function that writes it to the connection itself.

    Attributes:
        requests: the requests so far, as decoded JSON.
        keys: the key that came with each.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Answer | Callable[[Wire], None]]) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), Wire)
        self._server.owner = self

    @property
    def url(self) -> str:
        """Its address, for the setting `base_url` of a model."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings `ai` with which all jobs ask this server."""
        return {"model": "test", "models": {"test": {"provider": "test", "name": "test", "base_url": self.url}}}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="model-server", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{number}_{id(answer)}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(given)},
        }
        for number, (name, given) in enumerate(answer.tool_calls)
    ]


def _reason(answer: Answer) -> str:
    return answer.finish_reason or ("tool_calls" if answer.tool_calls else "stop")


def _usage(request: dict[str, Any], answer: Answer) -> dict[str, int]:
    sent = answer.input_tokens if answer.input_tokens is not None else len(json.dumps(request["messages"])) // 4 + 1
    size = len(answer.text) + len(json.dumps(_calls(answer))) * bool(answer.tool_calls)
    came = answer.output_tokens if answer.output_tokens is not None else size // 4 + 1
    return {"prompt_tokens": sent, "completion_tokens": came, "total_tokens": sent + came}


def _whole(request: dict[str, Any], answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.tool_calls:
        message["tool_calls"] = _calls(answer)
    choice = {"index": 0, "message": message, "finish_reason": _reason(answer)}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "test"}
    return head | {"choices": [choice], "usage": _usage(request, answer)}
