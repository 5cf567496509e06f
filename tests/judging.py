"""A judge of tests: an OpenAI-compatible server in a thread, whose verdicts and faults a test writes down."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeJudge:
    """Answers `/v1/chat/completions` by a function of the request's text: a reply, or a status and a body.

    A reply that ends in `...` is one that was cut off at the limit of tokens, before the dots.
    """

    def __init__(self, says: Callable[[str], str | tuple[int, str]]) -> None:
        self.says, self.seen, self.keys = says, [], []
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                judge.seen.append(body)
                judge.keys.append(self.headers.get("Authorization"))
                said = judge.says(body["messages"][0]["content"])
                status, text = said if isinstance(said, tuple) else (200, said)
                reply: dict[str, Any] = {"error": {"message": text}}
                if status == 200:
                    message = {"role": "assistant", "content": text.removesuffix("...")}
                    ended = "length" if text.endswith("...") else "stop"
                    reply = {"choices": [{"message": message, "finish_reason": ended}]}
                data = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
