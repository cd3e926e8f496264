"""SP-API spoken by hand: one seller's client over raw HTTP, whose every answer is held against Amazon's models."""

from __future__ import annotations

import http.client
import json
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

from tests import sp_models

SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"
GENERAL = "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
US, DE, FR = "ATVPDKIKX0DER", "A1PA6795UKMFR9", "A13V1IB3VIYZZH"


class Answer:
    """What came: status, headers, bytes, and the JSON in them."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        (error,) = self.json["errors"]
        return error["code"]


class Client:
    """One seller's: logs in when it is first asked to call."""

    def __init__(self, emulator, name):
        self.emulator, self.account = emulator, emulator.account(name)
        self._token = None
        #: Sent with every request.
        self.headers = {}

    def log_in(self, **changed):
        keys = {name: self.account[name] for name in ("client_id", "client_secret", "refresh_token")}
        return self.send("POST", "/auth/o2/token", {"grant_type": "refresh_token"} | keys | changed, form=True)

    @property
    def token(self):
        self._token = self._token or self.log_in().json["access_token"]
        return self._token

    def forget(self):
        self._token = None

    def send(self, verb, path, body=None, *, headers=(), form=False):
        connection = http.client.HTTPConnection(urlsplit(self.emulator.url).netloc, timeout=20)
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        content = urlencode(body) if form else json.dumps(body) if isinstance(body, (dict, list)) else body
        connection.request(verb, path, content, {"Content-Type": kind} | self.headers | dict(headers))
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def call(self, verb, path, body=None, *, token=None, **query):
        if query:
            path += "?" + urlencode({name: ",".join(v) if isinstance(v, list) else v for name, v in query.items()})
        headers = {"x-amz-access-token": self.token if token is None else token}
        answer = self.send(verb, path, body, headers=headers)
        sp_models.check(verb, path, answer)
        return answer

    def reports(self, **query):
        query = {"reportTypes": SHIPPING} | query if "nextToken" not in query else query
        return self.call("GET", "/reports/2021-06-30/reports", **query)

    def report(self, report_id):
        return self.call("GET", f"/reports/2021-06-30/reports/{report_id}")

    def create(self, **body):
        wanted = {"reportType": SHIPPING, "marketplaceIds": self.account["marketplaces"]}
        return self.call("POST", "/reports/2021-06-30/reports", wanted | body)

    def schedule(self, **body):
        wanted = {"reportType": SHIPPING, "marketplaceIds": self.account["marketplaces"], "period": "PT15M"}
        return self.call("POST", "/reports/2021-06-30/schedules", wanted | body)

    def schedules(self, report_type=SHIPPING):
        return self.call("GET", "/reports/2021-06-30/schedules", reportTypes=report_type).json["reportSchedules"]

    def restricted(self, *document_ids):
        resources = [{"method": "GET", "path": document_path(document_id)} for document_id in document_ids]
        return self.call("POST", "/tokens/2021-03-01/restrictedDataToken", {"restrictedResources": resources})

    def document(self, document_id):
        token = self.restricted(document_id).json["restrictedDataToken"]
        return self.call("GET", document_path(document_id), token=token)

    def fetch(self, url, **headers):
        return self.send("GET", url.removeprefix(self.emulator.url), headers=headers)

    def newest(self):
        return self.reports(processingStatuses="DONE").json["reports"][0]


def document_path(document_id):
    return f"/reports/2021-06-30/documents/{document_id}"


def now(emulator):
    return datetime.fromisoformat(emulator.get("/_emulator/clock")["now"])


def advance(emulator, **span):
    emulator.post("/_emulator/advance", {"seconds": timedelta(**span).total_seconds()})


def many(emulator, operation):
    """No quota in the way."""
    emulator.post("/_emulator/quota", {"operation": operation, "max": 1000, "restore_seconds": 1})


def truth(emulator):
    """Each line of an order in the newest form that a report told."""
    return emulator.get("/_emulator/truth")["families"]["new_orders"]
