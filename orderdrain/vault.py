"""The vault: seals what must not lie anywhere in clear, with keys that are not in Postgres.

Amazon's data protection policy asks that credentials and report contents are encrypted at rest, and that contents do
not touch a disk in clear even for a moment. Sealed with AES-256-GCM: who changes or cuts the bytes is found out.

The keys lie in a file, one a line, a name and 32 bytes in base64: the first seals, each opens. To rotate, a new key is
put before the others. `orderdrain key NAME` makes a line.

    2026-11 m9m2XyfSxlw5BqH6kV1jX1o2l6q6yYh0t8N0cXo3o2A=
"""

from __future__ import annotations

import base64
import io
import secrets
import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from orderdrain.errors import DependencyDown, GiveUp, SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEY_BYTES = 32
_TEXT = "sealed:"
#: A sealed file: these bytes, the length of the key's name and the name, a salt, then frames. The key of each file is
#: derived from the vault's by the salt, so that a nonce may be the frame's number.
_FILE = b"\x00orderdrain sealed 1\x00"
_SALT_BYTES = 32
#: Clear bytes in a frame, and what each frame grows by.
FRAME, _TAG = 1 << 16, 16


class Vault:
    """Seals and opens. Without keys it seals nothing, and opens what lies in clear."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = dict(keys)

    @classmethod
    def from_file(cls, path: str) -> Vault:
        """The keys of ORDERDRAIN_KEYS; none where that is empty. Raises SettingsError."""
        if not path:
            return cls({})
        try:
            lines = Path(path).read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise SettingsError(f"ORDERDRAIN_KEYS: {path} cannot be read: {why}") from None
        keys = {}
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not words or line.startswith("#"):
                continue
            try:
                name, text = words
                keys[name] = base64.b64decode(text, validate=True)
            except ValueError:
                raise SettingsError(f"ORDERDRAIN_KEYS: {path} line {number} is no key: orderdrain key NAME") from None
            if len(keys[name]) != KEY_BYTES or len(name.encode()) > 255:
                raise SettingsError(f"ORDERDRAIN_KEYS: {path} line {number} holds no {KEY_BYTES} bytes in base64")
        if not keys:
            raise SettingsError(f"ORDERDRAIN_KEYS: {path} holds no key. Make one: orderdrain key NAME >> {path}")
        return cls(keys)

    @property
    def seals(self) -> bool:
        """Whether there is a key."""
        return bool(self._keys)

    @property
    def digest_key(self) -> bytes:
        """The key of digests (orders/digests.py): who has the database alone cannot try what they were made of. Without
        keys it is no secret: what lies in clear beside them needs no guessing."""
        key = next(iter(self._keys.values()), b"")
        return HKDF(SHA256(), KEY_BYTES, None, b"orderdrain digests").derive(key)

    # -------------------------------------------------------------------------------------------------- secrets

    def seal(self, secret: str, *, place: str) -> str:
        """A secret as it may be stored. It opens at this `place` alone: nobody can put it somewhere else."""
        if not self._keys:
            return secret
        name, key = next(iter(self._keys.items()))
        nonce = secrets.token_bytes(12)
        sealed = nonce + AESGCM(key).encrypt(nonce, secret.encode(), f"{name} {place}".encode())
        return f"{_TEXT}{name}:{base64.b64encode(sealed).decode('ascii')}"

    def open(self, stored: str, *, place: str) -> str:
        """The secret. Raises DependencyDown where its key is missing or it was tampered with."""
        if not stored.startswith(_TEXT):
            return stored
        name, _, text = stored.removeprefix(_TEXT).partition(":")
        sealed = base64.b64decode(text)
        try:
            clear = AESGCM(self._key(name)).decrypt(sealed[:12], sealed[12:], f"{name} {place}".encode())
        except InvalidTag:
            raise DependencyDown(f"the secret of {place} does not open with key {name}: store it again") from None
        return clear.decode()

    # ---------------------------------------------------------------------------------------------------- files

    def sealer(self, put: Callable[[bytes], object]) -> Sealer:
        """Takes a file in blocks, and hands it on to `put` in sealed ones. Needs a key."""
        name, key = next(iter(self._keys.items()))
        salt = secrets.token_bytes(_SALT_BYTES)
        put(_FILE + bytes([len(name.encode())]) + name.encode() + salt)
        return Sealer(_of_file(key, salt), put)

    def opened(self, file: BinaryIO) -> BinaryIO:
        """The file as it was before it was sealed, to be read and sought in; one that is not sealed as it is."""
        if file.read(len(_FILE)) != _FILE:
            file.seek(0)
            return file
        name = file.read(file.read(1)[0]).decode()
        try:
            cipher = _of_file(self._key(name), file.read(_SALT_BYTES))
        except DependencyDown:
            file.close()
            raise
        return cast("BinaryIO", io.BufferedReader(_Opened(file, cipher), FRAME))

    def _key(self, name: str) -> bytes:
        if name not in self._keys:
            raise DependencyDown(f"sealed with key {name}, which is not in the file that ORDERDRAIN_KEYS names")
        return self._keys[name]


class Sealer:
    """Seals a file, frame by frame. The last frame is marked: a file that was cut does not open."""

    def __init__(self, cipher: AESGCM, put: Callable[[bytes], object]) -> None:
        self._cipher = cipher
        self._put = put
        self._pending = bytearray()
        self._number = 0

    def write(self, block: bytes) -> None:
        self._pending += block
        # A whole frame may be the last: it waits until more comes.
        while len(self._pending) > FRAME:
            self._seal(bytes(self._pending[:FRAME]), last=False)
            del self._pending[:FRAME]

    def finish(self) -> None:
        self._seal(bytes(self._pending), last=True)

    def _seal(self, clear: bytes, *, last: bool) -> None:
        self._put(self._cipher.encrypt(_nonce(self._number), clear, bytes([last])))
        self._number += 1


class _Opened(io.RawIOBase):
    """A sealed file, opened frame by frame where it is read."""

    def __init__(self, file: BinaryIO, cipher: AESGCM) -> None:
        self._file = file
        self._cipher = cipher
        self._begin = file.tell()
        sealed = file.seek(0, io.SEEK_END) - self._begin
        self._last = max(0, (sealed - 1) // (FRAME + _TAG))
        self._size = sealed - _TAG * (self._last + 1)
        self._place = 0
        self._frame: tuple[int, bytes] = (-1, b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        number, begin = divmod(self._place, FRAME)
        clear = self._open(number)[begin : begin + len(buffer)] if number <= self._last else b""
        buffer[: len(clear)] = clear
        self._place += len(clear)
        return len(clear)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _open(self, number: int) -> bytes:
        if self._frame[0] != number:
            self._file.seek(self._begin + number * (FRAME + _TAG))
            sealed = self._file.read(FRAME + _TAG)
            try:
                clear = self._cipher.decrypt(_nonce(number), sealed, bytes([number == self._last]))
            except (InvalidTag, ValueError):
                raise GiveUp("its sealed bytes in the archive were changed or cut") from None
            self._frame = (number, clear)
        return self._frame[1]


def secret_in(path: Path) -> str:
    """A secret that a person has put in a file, without the spaces and line ends around it. Raises UsageError, which
    tells nothing of what is in it."""
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"the secret in {path} cannot be read: {why}") from None
    if not secret:
        raise UsageError(f"{path} is empty: it must hold a secret")
    return secret


def new_key(name: str) -> str:
    """A line for the file of keys."""
    return f"{name} {base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode('ascii')}"


def _of_file(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, b"orderdrain file").derive(key))


def _nonce(number: int) -> bytes:
    return struct.pack(">4xQ", number)
