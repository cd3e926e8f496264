"""An archive whose bytes are sealed by the vault before they reach a disk, and opened as they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from orderdrain.archive import Writer

if TYPE_CHECKING:
    from datetime import timedelta

    from orderdrain.archive import Archive
    from orderdrain.vault import Vault


class SealedArchive:
    """As the archive below it. Sizes and hashes are those of the bytes as Amazon sent them; what was archived before
    there was a key is read as it is."""

    def __init__(self, archive: Archive, vault: Vault) -> None:
        self._archive = archive
        self._vault = vault

    def writer(self, key: str) -> Writer:
        return _SealingWriter(self._archive.writer(key), self._vault, key)

    def open(self, key: str) -> BinaryIO:
        return self._vault.opened(self._archive.open(key))

    def exists(self, key: str) -> bool:
        return self._archive.exists(key)

    def sweep(self, older_than: timedelta) -> int:
        return self._archive.sweep(older_than)


class _SealingWriter(Writer):
    def __init__(self, below: Writer, vault: Vault, key: str) -> None:
        super().__init__(key)
        self._below = below
        self._sealer = vault.sealer(below.write)

    def _put(self, block: bytes) -> None:
        self._sealer.write(block)

    def _finish(self) -> None:
        self._sealer.finish()
        self._below.commit()

    def _abandon(self) -> None:
        self._below.__exit__()
