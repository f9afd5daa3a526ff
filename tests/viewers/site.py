"""A web site on loopback: the OHIF viewer's files, and the PACS's DICOMweb under the same address.

Never: listens beyond loopback; gives out a file that is not the viewer's.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from urllib.parse import unquote, urlsplit

_PACS_SECONDS_MAX = 60
_PROXIED = ("/dicom-web/", "/wado")
_TYPES = {".wasm": "application/wasm", ".js": "text/javascript", ".mjs": "text/javascript"}
_DROPPED = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
# The page may share memory with its workers only where it is isolated from other sites.
_ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_CONFIGURATION = b"""window.config = {
  routerBasename: null, showStudyList: true, extensions: [], modes: [], customizationService: {},
  maxNumberOfWebWorkers: 2, showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false,
  showLoadingIndicator: true, strictZSpacingForVolumeViewport: true,
  investigationalUseDialog: { option: "never" }, defaultDataSourceName: "pacs",
  dataSources: [{
    namespace: "@ohif/extension-default.dataSourcesModule.dicomweb", sourceName: "pacs",
    configuration: {
      friendlyName: "PACS", name: "pacs", wadoUriRoot: location.origin + "/wado",
      qidoRoot: location.origin + "/dicom-web", wadoRoot: location.origin + "/dicom-web",
      qidoSupportsIncludeField: false, supportsReject: false, supportsFuzzyMatching: false,
      imageRendering: "wadors", thumbnailRendering: "wadors", enableStudyLazyLoad: true,
      supportsWildcard: true, omitQuotationForMultipartRequest: true, bulkDataURI: { enabled: true },
    },
  }],
};
"""


class Site(ThreadingHTTPServer):
    """Serves one folder of a built viewer in front of one PACS."""

    daemon_threads = True

    def __init__(self, viewer: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.viewer = viewer.resolve()
        self.pacs = ("", 0)

    @property
    def public(self) -> str:
        """Return the host and port that a browser sees."""
        return f"127.0.0.1:{self.server_address[1]}"

    @contextmanager
    def running(self, pacs: tuple[str, int]) -> Iterator[str]:
        """Serve until the block ends; give the address."""
        self.pacs = pacs
        thread = threading.Thread(target=self.serve_forever)
        thread.start()
        try:
            yield f"http://{self.public}"
        finally:
            self.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith(_PROXIED):
            self._ask_pacs()
        elif path == "/app-config.js":
            self._answer(200, {"Content-Type": "text/javascript"}, _CONFIGURATION)
        else:
            self._answer_file(path)

    def do_POST(self) -> None:
        self._ask_pacs()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer_file(self, path: str) -> None:
        file = (self.server.viewer / path.lstrip("/")).resolve()
        if not file.is_relative_to(self.server.viewer) or (file.suffix and not file.is_file()):
            self._answer(404, {}, b"")
            return
        # The viewer finds its own way from the address: every place that is no file is its first page.
        file = file if file.is_file() else self.server.viewer / "index.html"
        kind = _TYPES.get(file.suffix) or guess_type(file.name)[0] or "application/octet-stream"
        self._answer(200, {"Content-Type": kind, "Cache-Control": "max-age=3600"}, file.read_bytes())

    def _ask_pacs(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        wanted = {k: v for k, v in self.headers.items() if k.lower() not in {*_DROPPED, "accept-encoding"}}
        connection = http.client.HTTPConnection(*self.server.pacs, timeout=_PACS_SECONDS_MAX)
        try:
            connection.request(self.command, self.path, body, wanted)
            answer = connection.getresponse()
            said = {k: v for k, v in answer.getheaders() if k.lower() not in _DROPPED}
            self._answer(answer.status, said, answer.read())
        finally:
            connection.close()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, **_ISOLATED, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
