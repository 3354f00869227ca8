"""S3 servers as processes that a test may kill and start again."""

import http.client
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.factories import free_port

ACCESS_KEY = "factory-test"
SECRET_KEY = "factory-test-secret"
BUCKET = "documents"
START_SECONDS = 20.0


class Server:
    """One S3 server over one folder, always at the same port."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it serves requests."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / f"{self.kind}.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), env=self._environment(), stdout=log, stderr=subprocess.STDOUT
            )
        until = time.monotonic() + START_SECONDS
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.kind} did not start; see {self.folder.parent / (self.kind + '.log')}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the server with SIGKILL; what it holds in memory is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _command(self) -> list[str]:
        address = f"127.0.0.1:{self.port}"
        if self.kind == "minio":
            return [os.environ["FACTORY_TEST_MINIO"], "server", "--quiet", "--address", address, str(self.folder)]
        rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or "rclone"
        keys = f"{ACCESS_KEY},{SECRET_KEY}"
        serve = [rclone, "serve", "s3", "--auth-key", keys, "--addr", address]
        return [*serve, "--vfs-cache-mode", "off", str(self.folder)]

    def _environment(self) -> dict[str, str]:
        return os.environ | {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_BROWSER": "off"}


def _answers(port: int) -> bool:
    """Whether the server serves requests; MinIO takes connections before that and answers 503."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
