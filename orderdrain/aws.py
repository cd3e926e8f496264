"""The door to AWS: a client that each process has for itself, and what its failures mean here.

boto3 is imported when it is first needed: most commands need none of it, and it takes long to load.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orderdrain.errors import DependencyDown, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator


class Client:
    """A client of one service. Credentials, region and endpoint come as for every AWS client (AWS_*), unless `options`
    of boto3's `client` say otherwise; `settings` are further ones of its Config."""

    def __init__(self, service: str, *, settings: dict[str, Any] | None = None, **options: Any) -> None:
        self._service = service
        self._settings = settings or {}
        self._options = options
        self._client: Any = None
        self._pid = 0

    def __call__(self) -> Any:
        """This process's own. A connection shared by parent and child of a fork would swap their answers."""
        if self._client is None or self._pid != os.getpid():
            import boto3
            from botocore.config import Config

            retries: Any = {"mode": "standard", "max_attempts": 3}
            patience = Config(connect_timeout=3, read_timeout=30, retries=retries, **self._settings)
            session: Any = boto3.session.Session()
            self._client = session.client(self._service, config=patience, **self._options)
            self._pid = os.getpid()
        return self._client


@contextmanager
def reaching(what: str, *, missing: str | None = None) -> Iterator[None]:
    """Any failure becomes DependencyDown, which names `what`; a missing object, where one is expected,
    NotFound(`missing`)."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "no code")
        # A question without a body (HEAD) is answered by the bare status.
        if missing is not None and code in {"NoSuchKey", "404"}:
            raise NotFound(missing) from None
        request_id = error.response.get("ResponseMetadata", {}).get("RequestId")
        raise DependencyDown(f"{what} refuses {error.operation_name}: {code} (request id {request_id})") from error
    except BotoCoreError as error:
        raise DependencyDown(f"{what} does not answer: {str(error).splitlines()[0]}") from error
