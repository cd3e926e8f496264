"""The archive: a report's bytes, exactly as Amazon sent them, in a directory or in S3.

A key names one download of one report, so nothing is ever overwritten that somebody reads. Half a file is never seen:
the bytes appear under their key when `commit` returns, whole and safe from a power cut, or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self, cast
from urllib.parse import parse_qs, urlsplit

from orderdrain import aws
from orderdrain.errors import DependencyDown, NotFound, SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Stored:
    """What the archive holds now: `size` in bytes, `sha256` in hexadecimal digits."""

    key: str
    size: int
    sha256: str


class Archive(Protocol):
    """Where report bytes lie. Raises DependencyDown when the disk or S3 fails, UsageError for what is no key."""

    def writer(self, key: str) -> Writer:
        """For `with`: takes the bytes in blocks. Unless `commit` was called, they are thrown away at its end."""

    def open(self, key: str) -> BinaryIO:
        """The bytes, to be read and sought in; the caller closes. Raises NotFound."""

    def exists(self, key: str) -> bool:
        """Whether there are bytes under this key."""

    def sweep(self, older_than: timedelta) -> int:
        """Removes what dead writers left that have written nothing for `older_than` (real time); returns how many."""


def open_archive(setting: str) -> Archive:
    """The archive that a setting names: a directory, or `s3://bucket/prefix`, with `?kms_key=ID` to seal by that key.

    Touches neither disk nor network. Raises SettingsError.
    """
    if "://" not in setting:
        return DirectoryArchive(Path(setting))
    parts = urlsplit(setting)
    query = parse_qs(parts.query)
    if parts.scheme != "s3" or not parts.netloc or query.keys() - {"kms_key"}:
        raise SettingsError(
            "ORDERDRAIN_ARCHIVE is malformed: neither a directory nor a bucket."
            " Example: /var/lib/orderdrain/archive, or s3://bucket/prefix"
        )
    return S3Archive(parts.netloc, parts.path.strip("/"), kms_key=query.get("kms_key", [None])[0])


def key_for(account: str, api: str, report_id: str, fence: int, available_at: datetime) -> str:
    """`acme/2026/11/24/mws-50123456789-f3`: the fence makes it the key of one attempt alone."""
    return _checked(f"{account}/{available_at.astimezone(UTC):%Y/%m/%d}/{api}-{report_id}-f{fence}", parts=5)


def _checked(key: str, parts: int | None = None) -> str:
    # One part must not be two, nor climb out of the archive, nor hide: "a/b", "..", ".incoming".
    if not _KEY.fullmatch(key) or parts not in (None, key.count("/") + 1):
        raise UsageError(f"{key!r} is no archive key: only letters, digits and . _ - may stand in its parts")
    return key


_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}){0,9}")


class Writer(ABC):
    """Bytes on their way into the archive, hashed as they pass."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._committed = False

    def write(self, block: bytes) -> None:
        """Takes the next block, of any size."""
        self._put(block)
        self._size += len(block)
        self._sha256.update(block)

    def commit(self) -> Stored:
        """Makes the bytes appear under their key. When it returns they are there, whole, and stay."""
        self._finish()
        self._committed = True
        return Stored(self._key, self._size, self._sha256.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self._committed:
            self._abandon()

    @abstractmethod
    def _put(self, block: bytes) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...

    @abstractmethod
    def _abandon(self) -> None:
        """Leaves nothing behind, and raises nothing that would hide why."""


class DirectoryArchive:
    """Files under one directory, readable by their owner alone. What is being written lies apart, in `.incoming`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._name = f"the archive {root}"

    def writer(self, key: str) -> Writer:
        return _FileWriter(self._root, key)

    def open(self, key: str) -> BinaryIO:
        path = self._root / _checked(key)
        with _on_disk(self._name):
            try:
                return path.open("rb")
            except FileNotFoundError:
                raise NotFound(f"{self._name} holds no {key}") from None

    def exists(self, key: str) -> bool:
        with _on_disk(self._name):
            return (self._root / _checked(key)).is_file()

    def sweep(self, older_than: timedelta) -> int:
        limit = time.time() - older_than.total_seconds()
        removed = 0
        with _on_disk(self._name):
            for path in (self._root / _INCOMING).glob("*"):
                # Another sweep, or the writer's own end, may have been quicker.
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < limit:
                        path.unlink()
                        removed += 1
        return removed


#: On the same file system as the archive, so that a file moves to its place in one step. No key begins with a dot.
_INCOMING = ".incoming"


class _FileWriter(Writer):
    def __init__(self, root: Path, key: str) -> None:
        super().__init__(key)
        self._name = f"the archive {root}"
        self._final = root / _checked(key)
        with _on_disk(self._name):
            incoming = _folder(root / _INCOMING)
            self._path = incoming / secrets.token_hex(16)
            self._file = os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def _put(self, block: bytes) -> None:
        with _on_disk(self._name):
            self._file.write(block)

    def _finish(self) -> None:
        with _on_disk(self._name):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            folder = _folder(self._final.parent)
            self._path.rename(self._final)
            _sync(folder)

    def _abandon(self) -> None:
        # Closing may fail once more on a full disk; unlinking after it frees what was written.
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._path.unlink()


def _folder(path: Path) -> Path:
    """Makes a folder and those above it, for their owner alone, each name safe on the disk before it is used."""
    if not path.is_dir():
        parent = _folder(path.parent)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        _sync(parent)
    return path


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _on_disk(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free some space, it goes on by itself" if full else "orderdrain check says more"
        raise DependencyDown(f"{what} fails: {error.strerror or error}; {advice}") from error


class S3Archive:
    """Objects in a bucket, under a prefix. Credentials, region and endpoint come as for every AWS client (AWS_*).

    An S3 lifecycle rule that moves objects to a class which must be restored first makes reports unreadable here.
    """

    def __init__(self, bucket: str, prefix: str = "", *, kms_key: str | None = None) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._sealing = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
        self._client = aws.Client("s3")

    def writer(self, key: str) -> Writer:
        return _S3Writer(self._s3(), self._place(key), self._sealing, key)

    def open(self, key: str) -> BinaryIO:
        # Read twice and sought in, so it is brought here whole: to a file without a name, gone when it is closed.
        missing = f"the archive s3://{self._bucket} holds no {self._prefix}{key}"
        with _in_s3(self._bucket, missing=missing), _on_disk(f"the temporary folder {tempfile.gettempdir()}"):
            body = self._s3().get_object(**self._place(key))["Body"]
            with closing(body), ExitStack() as unless_whole:
                file = unless_whole.enter_context(tempfile.TemporaryFile())
                for block in body.iter_chunks(1 << 20):
                    file.write(block)
                file.seek(0)
                unless_whole.pop_all()
        return cast("BinaryIO", file)

    def exists(self, key: str) -> bool:
        try:
            with _in_s3(self._bucket, missing=key):
                self._s3().head_object(**self._place(key))
        except NotFound:
            return False
        return True

    def sweep(self, older_than: timedelta) -> int:
        limit = datetime.now(UTC) - older_than
        removed = 0
        with _in_s3(self._bucket):
            pages = self._s3().get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for upload in page.get("Uploads", []):
                    if upload["Initiated"] < limit:
                        self._s3().abort_multipart_upload(
                            Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
                        removed += 1
        return removed

    def _place(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._prefix + _checked(key)}

    def _s3(self) -> S3Client:
        with _in_s3(self._bucket):
            return cast("S3Client", self._client())


#: S3 takes parts of 5 MiB or more, 10,000 at most: reports of 80 GB fit, and this much is held in memory.
_PART_BYTES = 8 << 20


class _S3Writer(Writer):
    """One put for a small report; parts for a big one, which S3 shows only when they are joined at the end."""

    def __init__(self, s3: S3Client, place: dict[str, Any], sealing: dict[str, Any], key: str) -> None:
        super().__init__(key)
        self._s3 = s3
        self._place = place
        self._sealing = sealing
        self._pending = bytearray()
        self._upload: dict[str, Any] = {}
        self._parts: list[Any] = []

    def _put(self, block: bytes) -> None:
        self._pending += block
        while len(self._pending) >= _PART_BYTES:
            self._send_part(_PART_BYTES)

    def _finish(self) -> None:
        with _in_s3(self._place["Bucket"]):
            if not self._upload:
                self._s3.put_object(**self._place, **self._sealing, Body=bytes(self._pending))
                return
            if self._pending:
                self._send_part(len(self._pending))
            self._s3.complete_multipart_upload(**self._place, **self._upload, MultipartUpload={"Parts": self._parts})

    def _abandon(self) -> None:
        if self._upload:
            # What cannot be removed now is removed by `sweep`.
            with suppress(DependencyDown, NotFound), _in_s3(self._place["Bucket"]):
                self._s3.abort_multipart_upload(**self._place, **self._upload)

    def _send_part(self, size: int) -> None:
        with _in_s3(self._place["Bucket"]):
            if not self._upload:
                started = self._s3.create_multipart_upload(**self._place, **self._sealing)
                self._upload = {"UploadId": started["UploadId"]}
            number = len(self._parts) + 1
            sent: Any = self._s3.upload_part(
                **self._place, **self._upload, PartNumber=number, Body=bytes(self._pending[:size])
            )
            # S3 wants back the checksum that the client sent with each part, beside the part's ETag.
            checksums = {name: sent[name] for name in sent if name.startswith("Checksum") and name != "ChecksumType"}
            self._parts.append({"PartNumber": number, "ETag": sent["ETag"], **checksums})
            del self._pending[:size]


def _in_s3(bucket: str, *, missing: str | None = None) -> AbstractContextManager[None]:
    return aws.reaching(f"the archive s3://{bucket}", missing=missing)
