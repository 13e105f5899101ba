"""The Chromium inside PyQt6-WebEngine as a headless browser: one empty page, told over DevTools.

    python tests/report/qt_browser.py --user-data-dir=FOLDER

Understands that option of Chromium's alone. Writes FOLDER/DevToolsActivePort when it is ready, as
Chromium does. For machines where `pip` is all there is.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path

FLAGS = "--no-sandbox --disable-gpu --hide-scrollbars --touch-events=enabled"


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def tell(port: int, folder: Path) -> None:
    """Wait until the browser answers, then write down where."""
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/json/version", timeout=1).close()
            break
        except OSError:
            time.sleep(0.05)
    part = folder / "DevToolsActivePort.part"
    part.write_text(f"{port}\n/devtools/browser\n")
    part.replace(folder / "DevToolsActivePort")


def main() -> None:
    """Run until terminated."""
    options = [a.partition("=")[2] for a in sys.argv if a.startswith("--user-data-dir=")]
    folder, port = Path(options[0]), free_port()
    # A home of its own: it keeps nothing, and finds nothing of another run.
    os.environ |= {
        "HOME": str(folder),
        "QT_QPA_PLATFORM": "offscreen",
        "QTWEBENGINE_CHROMIUM_FLAGS": FLAGS,
        "QTWEBENGINE_REMOTE_DEBUGGING": f"127.0.0.1:{port}",
    }
    from PyQt6.QtCore import QUrl
    from PyQt6.QtWebEngineWidgets import QWebEngineView
    from PyQt6.QtWidgets import QApplication

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    application, view = QApplication(sys.argv[:1]), QWebEngineView()
    view.resize(1200, 900)
    view.load(QUrl("about:blank"))
    view.show()
    threading.Thread(target=tell, args=(port, folder), daemon=True).start()
    application.exec()


if __name__ == "__main__":
    main()
