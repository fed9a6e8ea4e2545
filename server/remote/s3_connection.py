"""The connection to one S3 bucket: its client, how long it may take, what its errors mean."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from server.remote import RemoteError
from server.remote.s3_errors import explained
from server.remote.s3_options import S3Options

_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that each step may take, its attempts included.

    Attributes:
        connect: Until there is a connection, at each attempt.
        silence: In which nothing arrives, at each attempt; botocore forgets it while it sends.
        call: A request with at most 8 MiB, either way.
        read: A small object, whole.
        complete: Joining the parts of a large object, which some stores copy for it.
    """

    connect: float = 5
    silence: float = 20
    call: float = 30
    read: float = 60
    complete: float = 120


class S3Connection:
    """One client for as long as the remote lives, made when it is first needed.

    Args:
        url: The remote, for sentences.
        options: What the AWS variables do not say.
        deadlines: How long things may take.
    """

    def __init__(self, url: str, options: S3Options, deadlines: Deadlines) -> None:
        self.url = url
        self.options = options
        self.deadlines = deadlines
        self._stack = contextlib.AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: Any = None  # Any: botocore makes its clients' methods at run time

    @contextlib.asynccontextmanager
    async def asking(self, seconds: float) -> AsyncIterator[Any]:
        """The client, for what may take so many seconds.

        Raises:
            RemoteError: For whatever goes wrong inside.
        """
        try:
            async with asyncio.timeout(seconds):
                yield await self._opened()
        except RemoteError:
            raise
        except Exception as error:  # what botocore and its HTTP client raise has no end
            raise explained(self.url, error) from error

    async def close(self) -> None:
        """End the connections."""
        await self._stack.aclose()

    async def _opened(self) -> Any:
        async with self._opening:
            if self._client is None:
                self._client = await self._stack.enter_async_context(self._new_client())
        return self._client

    def _new_client(self) -> contextlib.AbstractAsyncContextManager[Any]:
        """Endpoint, credentials, profile and region come by the usual AWS variables."""
        session = AioSession()
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
        styles = {None: "auto", True: "path", False: "virtual"}
        config = AioConfig(
            connect_timeout=self.deadlines.connect,
            read_timeout=self.deadlines.silence,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            s3={
                "addressing_style": styles[self.options.path_style],
                # each body's own checksum is signed; its hash would be made on the event loop
                "payload_signing_enabled": False,
            },
        )
        bundle = self.options.ca_bundle
        return session.create_client(
            "s3",
            region_name=region or "us-east-1",
            verify=str(bundle) if bundle else None,
            config=config,
        )
