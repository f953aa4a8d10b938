# SPDX-License-Identifier: Apache-2.0
"""The origin web server: one file, made from a seed, over plain HTTP/1.1.

Run on its own: python3 -m testbed.workloads.origin ADDRESS PORT SIZE_BYTES SEED
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from testbed.content import blocks

FILE_PATH = "/image"


class FileHandler(BaseHTTPRequestHandler):
    """Serves FILE_PATH and nothing else."""

    protocol_version = "HTTP/1.1"
    size_bytes = 0
    seed = 0

    def do_GET(self) -> None:
        """Send the whole file."""
        if self.path != FILE_PATH:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(self.size_bytes))
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        for block in blocks(self.seed, self.size_bytes):
            self.wfile.write(block)

    def log_message(self, format: str, *args: Any) -> None:
        """Write one line per request to standard error, without the server's idea of a name."""
        sys.stderr.write(f"{self.address_string()} {format % args}\n")


def serve(address: str, port: int, size_bytes: int, seed: int) -> None:
    """Serve until the process is ended."""
    handler = type("Handler", (FileHandler,), {"size_bytes": size_bytes, "seed": seed})
    with ThreadingHTTPServer((address, port), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
