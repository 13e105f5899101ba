"""A file server that answers ranges: `python -m tests.geo.range_server FOLDER` prints its port.

It runs as a process of its own: GDAL may wait for it while it holds Python's interpreter lock.
"""

from __future__ import annotations

import http.server
import sys
from pathlib import Path


def handler(folder: Path) -> type[http.server.BaseHTTPRequestHandler]:
    """What answers requests for the files of a folder."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = folder / self.path.strip("/")
            data = path.read_bytes() if path.is_file() else b""
            span = self.headers.get("Range", "").removeprefix("bytes=").split("-")
            part = data[int(span[0]) : int(span[1]) + 1] if len(span) == 2 else data
            self.send_response(404 if not data else 206 if len(span) == 2 else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
            if len(span) == 2:
                stop = int(span[0]) + len(part) - 1
                self.send_header("Content-Range", f"bytes {span[0]}-{stop}/{len(data)}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(part)

        def log_message(self, *args: object) -> None:
            """Be silent."""

    return Handler


if __name__ == "__main__":
    served = handler(Path(sys.argv[1]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), served) as listening:
        print(listening.server_port, flush=True)
        listening.serve_forever()
