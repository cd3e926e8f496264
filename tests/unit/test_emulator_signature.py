"""The emulator's own reading of Signature Version 2, against vectors computed by others."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlencode

import pytest

from emulator.parameters import Parameters, Refusal, parse_moment
from emulator.signature import HttpRequest, sign

VECTORS = Path(__file__).resolve().parents[2].parent / "shared/samples/sigv2-vectors/sigv2_vectors.json"


def test_the_published_vectors_come_out():
    """If the emulator signed wrongly, it would refuse right clients and teach ours the wrong thing."""
    if not VECTORS.exists():
        pytest.skip("signature vectors absent: ../shared/samples")
    vectors = json.loads(VECTORS.read_text())["vectors"]
    for vector in vectors:
        form = urlencode(vector["params"])
        request = HttpRequest(vector["method"], vector["host"], vector["path"], "", form, "tests/1.0")
        assert sign(request, request.parameters(), vector["secret_key"]) == vector["signature"]
    assert vectors


def test_the_signature_itself_and_the_place_of_a_parameter_do_not_matter():
    """`Signature` may stand anywhere; a parameter may come in the address or the body."""
    pairs = {"SignatureMethod": "HmacSHA256", "SignatureVersion": "2", "MWSAuthToken": "", "Marketplace": "a b*~"}
    whole = HttpRequest("POST", "Host:8400", "/", "", urlencode(pairs), "tests/1.0")
    split = HttpRequest("POST", "host:8400", "/", "Signature=a/b%3D&MWSAuthToken=", "", "tests/1.0")
    del pairs["MWSAuthToken"]
    split = HttpRequest(split.verb, split.host, split.path, split.query, urlencode(pairs), split.user_agent)
    assert sign(whole, whole.parameters(), "secret") == sign(split, split.parameters(), "secret")


def test_list_parameters_come_in_the_order_of_their_numbers():
    """.10 is after .2 for a reader, though not for the signature."""
    parameters = Parameters([(f"ReportIdList.Id.{n}", str(n)) for n in (10, 2, 1)])
    assert parameters.list("ReportIdList.Id") == ["1", "2", "10"]


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_a_date_that_is_none_is_refused_not_guessed(text):
    """A refusal names the parameter."""
    with pytest.raises(Refusal, match="StartDate"):
        parse_moment("StartDate", text)
