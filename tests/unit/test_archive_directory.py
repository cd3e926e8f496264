"""The archive in a directory: whole files or none, for their owner's eyes, and keys that stay inside."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from orderdrain.archive import DirectoryArchive, S3Archive, key_for, open_archive
from orderdrain.errors import DependencyDown, NotFound, SettingsError, UsageError

KEY = "acme/2026/11/24/mws-50123456789-f3"
BYTES = "order-id\torder-item-id\r\n701-1\tGlühwein €\r\n".encode("cp1252")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "archive"


@pytest.fixture
def archive(root):
    return DirectoryArchive(root)


def store(archive, key=KEY, content=BYTES):
    with archive.writer(key) as writer:
        writer.write(content)
        return writer.commit()


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


# --------------------------------------------------------------------------------------------------------- writing


def test_bytes_come_back_exactly_as_they_went_in(archive):
    """What Amazon sent is the evidence: no byte of it may change."""
    blocks = [BYTES, b"", bytes(range(256)) * 1000]
    with archive.writer(KEY) as writer:
        for block in blocks:
            writer.write(block)
        stored = writer.commit()

    content = b"".join(blocks)
    assert (stored.key, stored.size, stored.sha256) == (KEY, len(content), hashlib.sha256(content).hexdigest())
    with archive.open(KEY) as file:
        assert file.read() == content
        file.seek(3)
        assert file.read(5) == content[3:8]


def test_an_empty_report_is_stored_too(archive):
    """Nothing sold is an answer as well."""
    with archive.writer(KEY) as writer:
        assert writer.commit().size == 0

    assert archive.exists(KEY)


def test_nothing_is_seen_before_the_commit(archive, root):
    """Whoever finds a file under its key must find the whole of it."""
    with archive.writer(KEY) as writer:
        writer.write(BYTES * 100_000)
        assert not archive.exists(KEY)
        writer.commit()
        assert archive.exists(KEY)

    assert files(root) == [KEY]


def test_a_writer_that_fails_leaves_nothing(archive, root):
    """A wrong MD5 raises in the middle: those bytes are thrown away."""

    def download_a_wrong_body():
        with archive.writer(KEY) as writer:
            writer.write(BYTES)
            raise RuntimeError("wrong MD5")

    with pytest.raises(RuntimeError, match="wrong MD5"):
        download_a_wrong_body()

    assert files(root) == []


def test_a_writer_that_does_not_commit_leaves_nothing(archive, root):
    """Keeping bytes is always said, never guessed."""
    with archive.writer(KEY) as writer:
        writer.write(BYTES)

    assert files(root) == []
    assert not archive.exists(KEY)


def test_only_the_owner_may_read(archive, root):
    """Reports hold names and addresses; the umask of a service is nothing to rely on."""
    before = os.umask(0)
    try:
        store(archive)
    finally:
        os.umask(before)

    assert (root / KEY).stat().st_mode & 0o777 == 0o600
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


def test_a_second_write_does_not_disturb_who_reads_the_first(archive):
    """A reader keeps the bytes that it began with."""
    store(archive, content=b"first " * 100_000)
    with archive.open(KEY) as file:
        assert file.read(5) == b"first"
        store(archive, content=b"second")
        assert file.read().endswith(b"first ")

    with archive.open(KEY) as file:
        assert file.read() == b"second"


def test_bytes_are_safe_before_their_name_is_and_the_name_before_the_commit_returns(archive, root, monkeypatch):
    """The ledger says "downloaded" after the commit: a power cut then must not find an empty or a nameless file."""
    steps = []
    fsync, rename = os.fsync, os.rename

    def note_sync(descriptor):
        steps.append(("sync", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def note_rename(source, target):
        steps.append(("rename", Path(target)))
        rename(source, target)

    store(archive, "acme/2026/11/24/mws-1-f1")
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    store(archive)

    assert steps == [
        ("sync", (root / KEY).stat().st_ino),
        ("rename", root / KEY),
        ("sync", (root / KEY).parent.stat().st_ino),
    ]


WRITES_WITHOUT_END = """
import sys
from pathlib import Path
from orderdrain.archive import DirectoryArchive

with DirectoryArchive(Path(sys.argv[1])).writer(sys.argv[2]) as writer:
    writer.write(b"x" * 1_000_000)
    print("written", flush=True)
    sys.stdin.read()
"""


def test_a_writer_killed_in_the_middle_leaves_nothing_under_the_key(archive, root):
    """SIGKILL runs no cleaning up: what is left lies apart, and the sweep removes it when it is old."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITES_WITHOUT_END, root, KEY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert child.stdout.readline() == b"written\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()

    assert not archive.exists(KEY)
    assert len(files(root)) == 1
    assert archive.sweep(timedelta(hours=1)) == 0
    an_hour_ago = time.time() - 3601
    os.utime(root / files(root)[0], (an_hour_ago, an_hour_ago))
    store(archive)
    assert archive.sweep(timedelta(hours=1)) == 1
    assert files(root) == [KEY]


def test_sweeping_an_archive_that_nobody_has_used_is_no_error(archive):
    """The sweep runs from the first day."""
    assert archive.sweep(timedelta(hours=1)) == 0


def test_a_large_report_is_not_held_in_memory(archive):
    """Reports of hundreds of megabytes come block by block, and go so."""
    block = bytes(64 * 1024)
    tracemalloc.start()
    with archive.writer(KEY) as writer:
        for _ in range(1600):
            writer.write(block)
        assert writer.commit().size == 100 << 20
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1 << 20


# ------------------------------------------------------------------------------------------------------- failing


def nothing_fits(writer, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here, the disk on which nothing fits")
    device = os.open("/dev/full", os.O_WRONLY)
    os.dup2(device, writer._file.fileno())
    os.close(device)


def nothing_can_be_synced(writer, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("fill_disk", [nothing_fits, nothing_can_be_synced])
def test_a_full_disk_says_so_and_leaves_nothing(archive, root, monkeypatch, fill_disk):
    """It is nobody's report's fault: the operator reads what to do, and no half file stays."""
    store(archive, "acme/2026/11/24/mws-1-f1")

    def download():
        with archive.writer(KEY) as writer:
            fill_disk(writer, monkeypatch)
            writer.write(BYTES * 10_000)
            writer.commit()

    with pytest.raises(DependencyDown) as caught:
        download()

    assert str(caught.value) == (
        f"the archive {root} fails: No space left on device; free some space, it goes on by itself"
    )
    assert files(root) == ["acme/2026/11/24/mws-1-f1"]


def test_an_archive_that_cannot_be_made_says_where(tmp_path):
    """A wrong path in the setting is seen at the first report, in one line."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(DependencyDown, match="file/archive fails: Not a directory"):
        store(DirectoryArchive(tmp_path / "file" / "archive"))


def test_missing_bytes_are_named(archive):
    """The ledger and the archive may differ after a restore: the message says what is missing where."""
    with pytest.raises(NotFound, match=rf"archive holds no {KEY}$"):
        archive.open(KEY)


# ---------------------------------------------------------------------------------------------------------- keys


def test_a_key_names_account_day_api_report_and_attempt():
    """An operator finds a file by eye; the day is in UTC, as everywhere."""
    late_in_the_west = datetime(2026, 11, 23, 23, 30, tzinfo=timezone(timedelta(hours=-8)))

    assert key_for("acme", "mws", "50123456789", 3, late_in_the_west) == KEY


@pytest.mark.parametrize(
    ("account", "report_id"),
    [("..", "1"), ("a/b", "1"), ("", "1"), ("acme", "../../1"), ("acme", "1\n"), ("acme", "1 2"), (".incoming", "1")],
)
def test_no_name_becomes_a_path_of_its_own(account, report_id):
    """An account's or a report's name comes from outside."""
    with pytest.raises(UsageError, match="is no archive key"):
        key_for(account, "mws", report_id, 1, datetime(2026, 11, 24, tzinfo=UTC))


@pytest.mark.parametrize("key", ["../secret", "a/../../secret", "/etc/passwd", "", "a//b", "a/.incoming/b", "a\0b"])
def test_no_key_leads_out_of_the_archive(archive, key):
    """Keys come back from the ledger: whoever could write there must not read other files here."""
    for use in (archive.open, archive.exists, archive.writer):
        with pytest.raises(UsageError, match="is no archive key"):
            use(key)


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("/var/lib/orderdrain/archive", DirectoryArchive),
        (".orderdrain/archive", DirectoryArchive),
        ("s3://bucket", S3Archive),
        ("s3://bucket/some/prefix/?kms_key=arn:aws:kms:eu-west-1:1:key/2", S3Archive),
    ],
)
def test_a_setting_names_a_directory_or_a_bucket(setting, kind):
    """Opening touches neither disk nor network: both may be away when a process starts."""
    assert isinstance(open_archive(setting), kind)


@pytest.mark.parametrize("setting", ["s3://", "s3:///prefix", "gs://bucket/prefix", "s3://bucket?region=x"])
def test_any_other_setting_is_refused_with_an_example(setting):
    """One line that names the variable."""
    with pytest.raises(SettingsError, match=r"^ORDERDRAIN_ARCHIVE is malformed.*s3://bucket/prefix$"):
        open_archive(setting)
