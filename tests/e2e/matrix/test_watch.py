"""What the rows are timed by cannot come to its end unnoticed."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.e2e.matrix.watch import Watch
from tests.support.eventually import eventually


@pytest.mark.parametrize(("answer", "is_understood"), [(b'{"applications": {}}', True), (b"{}", False)])
def test_an_answer_that_the_watch_does_not_understand_fails_the_row(
    answer: bytes, *, is_understood: bool
) -> None:
    """It looks in a thread of its own, where an error would be lost."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        watch = Watch(f"http://127.0.0.1:{server.server_port}", [], every=0.01)
        try:
            if is_understood:
                with watch:
                    eventually(lambda: watch.whole_since, within=10, what="nothing is what it is to be")
            else:
                with pytest.raises(AssertionError, match="came to its end early"), watch:
                    eventually(lambda: asked, within=10, what="it has asked")
        finally:
            server.shutdown()
            thread.join(10)
