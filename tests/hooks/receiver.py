"""A receiver of webhooks on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec


class Receiver:
    """Keeps what it gets; `answer` decides what it says."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[int], int] = lambda _: 200
        self.arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.arrived:
                    receiver.requests.append((dict(self.headers.items()), body))
                    code = receiver.answer(len(receiver.requests))
                    if code == 200:
                        receiver.got.append(msgspec.json.decode(body))
                    receiver.arrived.notify_all()
                try:
                    self.send_response(code)
                    self.send_header("Content-Length", "4")
                    if code in (301, 302, 307):
                        self.send_header("Location", receiver.url + "/elsewhere")
                    self.end_headers()
                    self.wfile.write(b"busy" if code != 200 else b"good")
                except OSError:
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def wait_for(self, condition: Callable[[], object], seconds: float = 60) -> None:
        with self.arrived:
            assert self.arrived.wait_for(condition, seconds), self.got

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
