"""What is sealed opens with its key, where it belongs, whole; else it does not open at all."""

from __future__ import annotations

import io
import os

import pytest

from orderdrain.errors import DependencyDown, GiveUp, SettingsError
from orderdrain.vault import FRAME, Vault, new_key

KEY, OTHER = os.urandom(32), os.urandom(32)


def sealed(body, vault, *, block=1000):
    out = io.BytesIO()
    sealer = vault.sealer(out.write)
    for begin in range(0, len(body), block):
        sealer.write(body[begin : begin + block])
    sealer.finish()
    return out.getvalue()


@pytest.mark.parametrize("size", [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME])
def test_a_file_opens_as_it_was_and_can_be_sought_in(size):
    """A parse reads a report twice: once to find its charset, once to read its rows."""
    body, vault = os.urandom(size), Vault({"now": KEY})
    file = vault.opened(io.BytesIO(sealed(body, vault)))

    assert file.read() == body
    file.seek(max(0, size - 10))
    assert file.read(20) == body[-10:] or size == 0
    file.seek(0)
    assert file.read(7) == body[:7]


def test_nothing_of_a_sealed_file_is_there_in_clear():
    """It is a buyer's name that would lie on the disk."""
    body = b"Jane Public\t" * 20_000
    assert b"Jane" not in sealed(body, Vault({"now": KEY}))


def test_the_same_file_sealed_twice_looks_different():
    """Else one could see that two reports are the same."""
    vault = Vault({"now": KEY})
    assert sealed(b"the same", vault)[-20:] != sealed(b"the same", vault)[-20:]


@pytest.mark.parametrize("how", ["a bit changed", "cut in a frame", "cut between frames", "frames swapped"])
def test_a_file_that_was_tampered_with_does_not_open(how):
    """Half a report would be half its orders, and nobody would know."""
    vault = Vault({"now": KEY})
    whole = sealed(os.urandom(2 * FRAME + 5), vault)
    begin = len(whole) - (2 * FRAME + 5) - 3 * 16
    frames = whole[begin : begin + FRAME + 16], whole[begin + FRAME + 16 : begin + 2 * (FRAME + 16)]
    damaged = {
        "a bit changed": whole[:-1] + bytes([whole[-1] ^ 1]),
        "cut in a frame": whole[:-1],
        "cut between frames": whole[: begin + 2 * (FRAME + 16)],
        "frames swapped": whole[:begin] + frames[1] + frames[0] + whole[begin + 2 * (FRAME + 16) :],
    }[how]

    with pytest.raises(GiveUp, match="changed or cut"):
        vault.opened(io.BytesIO(damaged)).read()


def test_what_was_archived_before_there_was_a_key_is_read_as_it_is():
    """The day on which sealing begins must not make yesterday's reports unreadable."""
    assert Vault({"now": KEY}).opened(io.BytesIO(b"order-id\t")).read() == b"order-id\t"


def test_a_new_key_seals_and_the_old_one_still_opens():
    """Keys are rotated without a day on which nothing can be read."""
    old, rotated = Vault({"old": OTHER}), Vault({"new": KEY, "old": OTHER})
    secret, body = old.seal("s3cret", place="here"), sealed(b"bytes", old)

    assert rotated.open(secret, place="here") == "s3cret"
    assert rotated.opened(io.BytesIO(body)).read() == b"bytes"
    assert "new" in rotated.seal("s3cret", place="here")


def test_without_its_key_a_secret_waits_for_it():
    """A file of keys that was not deployed everywhere is no reason to set reports aside."""
    stored = Vault({"old": OTHER}).seal("s3cret", place="here")
    with pytest.raises(
        DependencyDown, match="sealed with key old, which is not in the file that ORDERDRAIN_KEYS names"
    ):
        Vault({"new": KEY}).open(stored, place="here")
    with pytest.raises(DependencyDown, match="key old"):
        Vault({"new": KEY}).opened(io.BytesIO(sealed(b"bytes", Vault({"old": OTHER}))))


def test_a_secret_opens_at_its_own_place_alone():
    """Who can write to the database could else give one seller's token to another's account."""
    vault = Vault({"now": KEY})
    stored = vault.seal("s3cret", place="connection acme sp-api")

    assert "s3cret" not in stored
    with pytest.raises(DependencyDown, match="the secret of connection bravo sp-api does not open"):
        vault.open(stored, place="connection bravo sp-api")


def test_keys_are_read_from_a_file_with_the_first_one_sealing(tmp_path):
    """Comments and empty lines are for people."""
    path = tmp_path / "keys"
    path.write_text(f"# rotated in November\n\n{new_key('b')}\n{new_key('a')}\n")
    assert Vault.from_file(str(path)).seal("x", place="p").startswith("sealed:b:")
    assert not Vault.from_file("").seals


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no key"),
        ("now short", "line 1 is no key"),
        ("now c2hvcnQ=", "line 1 holds no 32 bytes"),
        ("one two three", "line 1 is no key"),
        (None, "cannot be read"),
    ],
)
def test_a_file_of_keys_that_cannot_be_used_is_told_at_once(tmp_path, text, said):
    """With what would do; and no key is ever quoted."""
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=said) as caught:
        Vault.from_file(str(path))
    assert "c2hvcnQ" not in str(caught.value)
