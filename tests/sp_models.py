"""Amazon's official models of SP-API, and whether an answer is what they say. Recorded answers beside them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "samples"
MODELS = SAMPLES / "amzn-selling-partner-api-models" / "models"
WIRE = SAMPLES / "lineofflight-peddler" / "sp-api-wire"
model = pytest.mark.skipif(not MODELS.is_dir(), reason="official SP-API models absent: ../shared/samples")
recorded = pytest.mark.skipif(not WIRE.is_dir(), reason="recorded SP-API answers absent: ../shared/samples")

RATE = "x-amzn-RateLimit-Limit"
_TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
#: What of a schema `fits` looks at, and what only explains. Anything else would pass unseen.
_RULES = {"$ref", "type", "format", "enum", "items", "minItems", "maxItems", "required", "properties"}
_RULES |= {"additionalProperties", "description", "example", "x-docgen-enum-table-extension"}


@dataclass(frozen=True)
class Operation:
    """One operation of a model. `api` is the model's file, `described` its text, with rate and burst in a table."""

    name: str
    api: str
    verb: str
    path: re.Pattern[str]
    described: str
    responses: dict
    definitions: dict


@cache
def operations() -> dict[str, Operation]:
    """Every operation by its name; none where the models are absent."""
    found = {}
    for file in sorted(MODELS.glob("*/*.json")):
        told = json.loads(file.read_text())
        for path, verbs in told["paths"].items():
            for verb, said in verbs.items():
                if isinstance(said, dict) and "operationId" in said:
                    pattern = re.compile(re.sub(r"{\w+}", "[^/]+", path))
                    found[said["operationId"]] = Operation(
                        said["operationId"], file.stem, verb.upper(), pattern,
                        said["description"], said["responses"], told["definitions"],
                    )  # fmt: skip
    return found


def check(verb, path, answer):
    """A status that the model has for the operation, with its headers, and a body that is exactly of its shape.

    What is no JSON came from a proxy; what is no operation is denied. Without the models nothing is checked.
    """
    if not MODELS.is_dir():
        return
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert not {"Retry-After", "Content-Encoding"} & set(answer.headers.keys())
    if answer.headers["Content-Type"] != "application/json":
        assert answer.status == 502
        return
    known = (one for one in operations().values() if one.verb == verb and one.path.fullmatch(path.partition("?")[0]))
    operation = next(known, None)
    if operation is None:
        assert answer.status == 403
        fits(answer.json, {"$ref": "#/definitions/ErrorList"}, operations()["getReports"].definitions)
        return
    said = operation.responses[str(answer.status)]
    # The model gives an answer to cancelling no body; clients that read one get an empty object.
    fits(answer.json, said.get("schema", {"type": "object"}), operation.definitions)
    assert answer.status < 300 or answer.json["errors"]
    assert answer.headers["x-amzn-RequestId"]
    # In the models on successes, 400 and 404 of every operation, and as recorded nowhere else.
    assert (RATE in answer.headers) == (answer.status < 300 or answer.status in {400, 404})
    assert RATE not in answer.headers or (RATE in said["headers"] and float(answer.headers[RATE]) > 0)


def fits(value, schema, definitions):
    """`value` is of the schema: types, required fields, no unknown ones, enumerations, counts, dates with an offset."""
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    assert schema.keys() <= _RULES, f"a rule that this check does not know: {schema.keys() - _RULES}"
    kind = _TYPES[schema["type"]]
    assert type(value) is kind, (value, schema)
    assert "enum" not in schema or value in schema["enum"], value
    if schema.get("format") == "date-time":
        assert datetime.fromisoformat(value).tzinfo, value
    if kind is list:
        assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)), (value, schema)
        for item in value:
            fits(item, schema["items"], definitions)
    if kind is dict:
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        assert value.keys() >= set(schema.get("required", ())), (value, schema["required"])
        assert others or value.keys() <= known.keys(), (value, list(known))
        for name, inner in value.items():
            fits(inner, known.get(name, others), definitions)
