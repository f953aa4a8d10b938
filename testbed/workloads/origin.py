# SPDX-License-Identifier: Apache-2.0
"""The origin web server: one file, made from a seed, over plain HTTP/1.1.

It can serve a part of the file, from a byte to the end (RFC 9110 section 14), so that a download
can be resumed. Run on its own: python3 -m testbed.workloads.origin ADDRESS PORT SIZE_BYTES SEED
"""

import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from testbed.content import FILE_PATH, blocks

_FROM = re.compile(r"bytes=(\d{1,18})-")


class FileHandler(BaseHTTPRequestHandler):
    """Serves FILE_PATH and nothing else."""

    protocol_version = "HTTP/1.1"
    size_bytes = 0
    seed = 0

    def do_GET(self) -> None:
        """Send the file, from the byte that was asked for."""
        if self.path != FILE_PATH:
            self.send_error(404)
            return
        first = first_byte(self.headers.get("Range"))
        if first >= self.size_bytes:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{self.size_bytes}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        is_part = _FROM.fullmatch(self.headers.get("Range", "")) is not None
        self.send_response(206 if is_part else 200)
        if is_part:
            span = f"bytes {first}-{self.size_bytes - 1}/{self.size_bytes}"
            self.send_header("Content-Range", span)
        self.send_header("Content-Length", str(self.size_bytes - first))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self._send_from(first)

    def _send_from(self, first: int) -> None:
        try:
            for block in blocks(self.seed, self.size_bytes, first):
                self.wfile.write(block)
        except ConnectionError:
            self.close_connection = True  # who gave up will ask for the rest

    def log_message(self, format: str, *args: Any) -> None:
        """Write one line per request to standard error, without the server's idea of a name."""
        sys.stderr.write(f"{self.address_string()} {format % args}\n")


def first_byte(header: str | None) -> int:
    """Return the byte from which a Range header wants the file; 0 if it says nothing we know."""
    match = _FROM.fullmatch(header or "")
    return int(match[1]) if match else 0


def serve(address: str, port: int, size_bytes: int, seed: int) -> None:
    """Serve until the process is ended."""
    handler = type("Handler", (FileHandler,), {"size_bytes": size_bytes, "seed": seed})
    with ThreadingHTTPServer((address, port), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
