"""Both archives do the same: a directory, and S3 as moto's server answers for it over a real socket."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
import urllib.request
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from moto.server import ThreadedMotoServer

from orderdrain.archive import open_archive
from orderdrain.errors import DependencyDown, NotFound, UsageError
from tests.building import in_a_fork

KEY = "acme/2026/11/24/mws-50123456789-f3"
BYTES = "order-id\torder-item-id\r\n701-1\tGlühwein €\r\n".encode("cp1252")
#: One whole part of S3 and a piece of the next.
BIG = os.urandom(1 << 20) * 9


@pytest.fixture(scope="module")
def s3_server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """A client of an S3 with one empty bucket; the archive finds the same S3 through the environment."""
    urllib.request.urlopen(urllib.request.Request(f"{s3_server}/moto-api/reset", method="POST")).close()
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "an-invented-key",
        "AWS_SECRET_ACCESS_KEY": "an-invented-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session().client("s3")
    client.create_bucket(Bucket="reports")
    return client


@pytest.fixture
def s3_archive(s3):
    return open_archive("s3://reports/orderdrain")


@pytest.fixture(params=["directory", "s3"])
def archive(request, tmp_path):
    """Whatever is promised, both must keep."""
    return open_archive(str(tmp_path)) if request.param == "directory" else request.getfixturevalue("s3_archive")


def store(archive, content, key=KEY, block=64 * 1024):
    with archive.writer(key) as writer:
        for begin in range(0, len(content), block):
            writer.write(content[begin : begin + block])
        return writer.commit()


def objects(s3):
    return [found["Key"] for found in s3.list_objects_v2(Bucket="reports").get("Contents", [])]


def unfinished(s3):
    return s3.list_multipart_uploads(Bucket="reports").get("Uploads", [])


# ------------------------------------------------------------------------------------------------- what both promise


@pytest.mark.parametrize("content", [b"", BYTES, BIG], ids=["empty", "small", "big"])
def test_bytes_come_back_exactly_as_they_went_in(archive, content):
    """What Amazon sent is the evidence, be it nothing, one part or many."""
    stored = store(archive, content)

    assert (stored.key, stored.size, stored.sha256) == (KEY, len(content), hashlib.sha256(content).hexdigest())
    assert archive.exists(KEY)
    with archive.open(KEY) as file:
        assert file.read() == content
        file.seek(0)
        assert file.read(7) == content[:7]


@pytest.mark.parametrize("content", [BYTES, BIG], ids=["small", "big"])
def test_nothing_is_seen_before_the_commit(archive, content):
    """Whoever finds bytes under a key must find all of them."""
    with archive.writer(KEY) as writer:
        writer.write(content)
        assert not archive.exists(KEY)
        writer.commit()
        assert archive.exists(KEY)


@pytest.mark.parametrize("content", [BYTES, BIG], ids=["small", "big"])
def test_what_is_not_committed_is_thrown_away(archive, content):
    """A cut body or a wrong MD5: those bytes must never be read, and the next try uses the same key."""

    def download_a_wrong_body():
        with archive.writer(KEY) as writer:
            writer.write(content)
            raise RuntimeError("wrong MD5")

    with pytest.raises(RuntimeError, match="wrong MD5"):
        download_a_wrong_body()

    assert not archive.exists(KEY)
    store(archive, b"whole")
    with archive.open(KEY) as file:
        assert file.read() == b"whole"


def test_who_reads_keeps_his_bytes_when_the_key_is_written_again(archive):
    """A slow reader must not see the end of another file."""
    store(archive, BIG)
    with archive.open(KEY) as file:
        file.read(100)
        store(archive, b"other")
        assert file.read() == BIG[100:]


def test_missing_bytes_are_named(archive):
    """The message says what is missing where."""
    with pytest.raises(NotFound, match=rf"^the archive .* holds no .*{KEY}$"):
        archive.open(KEY)
    assert not archive.exists(KEY)


def test_no_key_leads_out_of_the_archive(archive):
    """Not out of a directory, and not out of a prefix either."""
    for use in (archive.open, archive.exists, archive.writer):
        with pytest.raises(UsageError, match="is no archive key"):
            use("../secret")


# -------------------------------------------------------------------------------------------------------- S3 alone


def test_objects_lie_under_the_prefix_alone(s3, s3_archive):
    """The bucket may hold other things."""
    store(s3_archive, BYTES)
    store(open_archive("s3://reports"), BYTES)

    assert objects(s3) == [KEY, f"orderdrain/{KEY}"]


def test_a_failed_upload_leaves_no_paid_parts(s3, s3_archive):
    """Parts of an upload that was never joined are invisible, kept for ever, and paid for."""
    with s3_archive.writer(KEY) as writer:
        writer.write(BIG)
        assert len(unfinished(s3)) == 1

    assert unfinished(s3) == []
    assert objects(s3) == []


def test_the_sweep_ends_the_uploads_of_dead_writers(s3, s3_archive):
    """A worker that was killed ends nothing; one that still works must not be disturbed."""
    s3_archive.writer(KEY).write(BIG)
    s3.create_multipart_upload(Bucket="reports", Key="somebody-else/1")

    # moto says of every upload that it began on this day.
    age = datetime.now(UTC) - datetime(2010, 11, 10, tzinfo=UTC)

    assert s3_archive.sweep(age + timedelta(days=2)) == 0
    assert s3_archive.sweep(age - timedelta(days=2)) == 1
    assert [upload["Key"] for upload in unfinished(s3)] == ["somebody-else/1"]


@pytest.mark.parametrize("content", [BYTES, BIG], ids=["small", "big"])
def test_bytes_are_sealed_by_the_key_that_the_setting_names(s3, content):
    """Reports hold names and addresses: who may read the bucket need not be allowed to read them."""
    key_id = boto3.session.Session().client("kms").create_key()["KeyMetadata"]["KeyId"]
    store(open_archive(f"s3://reports/sealed?kms_key={key_id}"), content)

    head = s3.head_object(Bucket="reports", Key=f"sealed/{KEY}")
    assert head["ServerSideEncryption"] == "aws:kms"
    assert key_id in head["SSEKMSKeyId"]


def test_a_large_report_is_not_held_in_memory(s3_archive):
    """Parts of 8 MiB go as they fill; a report of any size passes through."""
    block = bytes(64 * 1024)
    with s3_archive.writer(KEY) as writer:
        tracemalloc.start()
        for _ in range(640):
            writer.write(block)
        # moto's server lives in this process and keeps what it is sent; what is measured is what the writer holds.
        held = sum(
            trace.size
            for trace in tracemalloc.take_snapshot().statistics("filename")
            if trace.traceback[0].filename.endswith("orderdrain/archive.py")
        )
        tracemalloc.stop()
        assert writer.commit().size == 40 << 20

    assert held < 20 << 20


def test_a_bucket_that_is_not_there_says_so_in_one_line(s3):
    """A misspelt setting, or rights that were taken away."""
    archive = open_archive("s3://nowhere/prefix")

    with pytest.raises(
        DependencyDown, match=r"^the archive s3://nowhere refuses PutObject: NoSuchBucket \(request id "
    ):
        store(archive, BYTES)
    with pytest.raises(DependencyDown, match=r"^the archive s3://nowhere refuses CreateMultipartUpload: NoSuchBucket "):
        store(archive, BIG)
    with pytest.raises(DependencyDown, match="NoSuchBucket"):
        archive.open(KEY)


def test_an_s3_that_does_not_answer_is_a_dependency_that_is_down(s3, monkeypatch):
    """The report waits without an attempt spent; the line says what does not answer."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    archive = open_archive("s3://reports")
    for use in (archive.open, archive.exists):
        with pytest.raises(DependencyDown, match=r"^the archive s3://reports does not answer: Could not connect"):
            use(KEY)


def test_without_credentials_the_line_says_so(s3, monkeypatch, tmp_path):
    """The commonest fault of a first deployment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    with pytest.raises(DependencyDown, match="Unable to locate credentials"):
        store(open_archive("s3://reports"), BYTES)


def test_a_writer_whose_upload_was_ended_commits_nothing(s3, s3_archive):
    """A writer that slept for long may find its upload swept: it must fail, not store what is left."""

    def write_too_slowly():
        with s3_archive.writer(KEY) as writer:
            writer.write(BIG)
            s3_archive.sweep(timedelta(0))
            writer.commit()

    with pytest.raises(DependencyDown, match="refuses UploadPart"):
        write_too_slowly()
    assert objects(s3) == []


def test_a_forked_process_opens_its_own_connections(s3_archive):
    """Celery forks: two processes on one connection would read each other's answers."""
    store(s3_archive, BYTES)
    client = s3_archive._s3()

    assert in_a_fork(lambda: "own" if s3_archive._s3() is not client else "shared") == "own"
    assert s3_archive._s3() is client
