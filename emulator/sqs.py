"""The queue service: SQS's JSON protocol as boto3 speaks it, with long polling, visibility and receipt handles.

Everything is in emulated time: what waits a minute waits a second at speed 60. It is a standard queue: a message comes
again until it is deleted. Calls are not recorded, since no quota stands on them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from emulator.call import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from emulator.clock import Clock
    from emulator.faults import Faults
    from emulator.signature import HttpRequest

#: By this header, and not by a path, SQS tells its calls apart.
SQS_TARGET = "AmazonSQS."
#: Documentation of SQS: defaults and bounds, in seconds.
_DEFAULTS = {"VisibilityTimeout": 30, "MessageRetentionPeriod": 345_600, "ReceiveMessageWaitTimeSeconds": 0}
_LONGEST_WAIT, _LONGEST_VISIBILITY = 20, 43_200
_LARGEST_BODY = 1024 * 1024
#: Real seconds between two looks of a call that waits for a message.
_LOOK_EVERY = 0.05
_ACCOUNT_NUMBER = "000000000000"


class _Refused(Exception):
    """`kind` is the shape's name in the JSON protocol, `code` the older name that boto3 shows."""

    def __init__(self, kind: str, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.kind, self.code, self.status = kind, code, status


@dataclass
class Message:
    """One message. `receives` counts how often it was given out; a receipt handle is good for the last of them."""

    message_id: str
    body: str
    sent_at: datetime
    visible_at: datetime
    receives: int = 0
    first_received_at: datetime | None = None

    @property
    def handle(self) -> str:
        return base64.b64encode(f"{self.message_id}#{self.receives}".encode()).decode()


class Queue:
    """One standard queue. Safe to use from any thread."""

    def __init__(self, name: str, now: datetime, attributes: dict[str, int], *, seed: int) -> None:
        self.name = name
        self.created_at = now
        self.attributes = _DEFAULTS | attributes
        self._messages: dict[str, Message] = {}
        self._ids = Random(f"{seed}/sqs/{name}")
        self._lock = threading.Lock()

    def send(self, body: str, now: datetime, *, delay: float = 0) -> Message:
        """Puts a message in."""
        with self._lock:
            message_id = str(uuid.UUID(bytes=self._ids.randbytes(16), version=4))
            message = Message(message_id, body, now, now + timedelta(seconds=delay))
            self._messages[message_id] = message
            return message

    def take(self, most: int, seconds: float, now: datetime) -> list[dict[str, Any]]:
        """Up to `most` visible messages as ReceiveMessage tells them; nobody else sees them for `seconds`."""
        with self._lock:
            oldest = now - timedelta(seconds=self.attributes["MessageRetentionPeriod"])
            self._messages = {i: message for i, message in self._messages.items() if message.sent_at >= oldest}
            taken = [message for message in self._messages.values() if message.visible_at <= now][:most]
            for message in taken:
                message.receives += 1
                message.first_received_at = message.first_received_at or now
                message.visible_at = now + timedelta(seconds=seconds)
            return [_as_received(message) for message in taken]

    def delete(self, handle: str) -> None:
        """Removes the message. An old handle is no error, and removes nothing (documentation of SQS)."""
        with self._lock:
            message = self._messages.get(_message_id(handle))
            if message and message.handle == handle:
                del self._messages[message.message_id]

    def show_again(self, handle: str, seconds: int, now: datetime) -> None:
        """Lets a message that was received be seen again in `seconds`."""
        if not 0 <= seconds <= _LONGEST_VISIBILITY:
            raise _invalid("VisibilityTimeout", seconds)
        with self._lock:
            message = self._messages.get(_message_id(handle))
            if message is None or message.handle != handle or message.visible_at <= now:
                raise _Refused(
                    "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", "The message is not in flight."
                )
            message.visible_at = now + timedelta(seconds=seconds)

    def counts(self, now: datetime) -> tuple[int, int]:
        """How many messages can be seen, and how many are in somebody's hands."""
        with self._lock:
            visible = sum(message.visible_at <= now for message in self._messages.values())
            return visible, len(self._messages) - visible

    def oldest_age(self, now: datetime) -> float:
        """For how many seconds the oldest message has been in the queue; 0 of an empty one."""
        with self._lock:
            return max(((now - message.sent_at).total_seconds() for message in self._messages.values()), default=0.0)


class Sqs:
    """All queues. One of them is there from the start: the one that both APIs publish to."""

    def __init__(self, clock: Clock, faults: Faults, *, seed: int, url: str) -> None:
        self._clock = clock
        self._faults = faults
        self._seed = seed
        self._url = url
        self._queues: dict[str, Queue] = {}
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "CreateQueue": self._create_queue,
            "GetQueueUrl": self._get_queue_url,
            "GetQueueAttributes": self._get_queue_attributes,
            "SendMessage": self._send_message,
            "SendMessageBatch": lambda told: self._batch(told, self._send_message, ("MessageId", "MD5OfMessageBody")),
            "ReceiveMessage": self._receive_message,
            "DeleteMessage": self._delete_message,
            "DeleteMessageBatch": lambda told: self._batch(told, self._delete_message),
            "ChangeMessageVisibility": self._change_message_visibility,
            "ChangeMessageVisibilityBatch": lambda told: self._batch(told, self._change_message_visibility),
        }
        #: Called before each look into a queue: what is due to be published goes in then.
        self.publish: Callable[[], None] = lambda: None
        self.notifications = self.create("notifications")

    def create(self, name: str, attributes: dict[str, int] | None = None) -> Queue:
        """The queue of that name, made if it is not there."""
        return self._queues.setdefault(name, Queue(name, self._clock.now(), attributes or {}, seed=self._seed))

    def url_of(self, queue: Queue) -> str:
        """What a client calls the queue."""
        return f"{self._url}/{_ACCOUNT_NUMBER}/{queue.name}"

    def handle(self, request: HttpRequest) -> Reply:
        """Answers one call."""
        request_id = str(uuid.uuid4())
        headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-RequestId": request_id}
        fault = self._faults.draw("sqs", "SQS", "")
        try:
            if fault == "unavailable":
                raise _Refused("ServiceUnavailable", "ServiceUnavailable", "Service is unavailable.", 503)
            if fault == "no_answer":
                return Reply(500, headers, b"", fault)
            answer, status = self._answer(request), 200
        except _Refused as refusal:
            status = refusal.status
            answer = {"__type": f"com.amazonaws.sqs#{refusal.kind}", "message": str(refusal)}
            headers["x-amzn-query-error"] = f"{refusal.code};{'Sender' if status < 500 else 'Receiver'}"
        return Reply(status, headers, json.dumps(answer).encode())

    def _answer(self, request: HttpRequest) -> dict[str, Any]:
        # Who signs is not checked: whoever reaches this port may read these queues. That it is signed at all is.
        if not request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 Credential="):
            raise _Refused("MissingAuthenticationToken", "MissingAuthenticationToken", "Request is not signed.", 403)
        name = request.headers["x-amz-target"].removeprefix(SQS_TARGET)
        if name not in self._operations:
            raise _Refused("UnknownOperationException", "InvalidAction", f"The action {name} is not valid.")
        try:
            told = json.loads(request.form)
            return self._operations[name](told)
        except KeyError as missing:
            text = f"The request must contain the parameter {missing.args[0]}."
            raise _Refused("MissingRequiredParameterException", "MissingParameter", text) from None
        except (ValueError, TypeError, AttributeError):
            raise _Refused("SerializationException", "SerializationException", "The request is malformed.") from None

    # --- queues ----------------------------------------------------------------------------------------------------

    def _create_queue(self, told: dict[str, Any]) -> dict[str, Any]:
        attributes = {name: int(value) for name, value in told.get("Attributes", {}).items() if name in _DEFAULTS}
        return {"QueueUrl": self.url_of(self.create(str(told["QueueName"]), attributes))}

    def _get_queue_url(self, told: dict[str, Any]) -> dict[str, Any]:
        return {"QueueUrl": self.url_of(self._named(str(told["QueueName"])))}

    def _get_queue_attributes(self, told: dict[str, Any]) -> dict[str, Any]:
        queue = self._queue(told)
        self.publish()
        visible, taken = queue.counts(self._clock.now())
        known = queue.attributes | {
            "ApproximateNumberOfMessages": visible,
            "ApproximateNumberOfMessagesNotVisible": taken,
            "CreatedTimestamp": int(queue.created_at.timestamp()),
            "QueueArn": f"arn:aws:sqs:us-east-1:{_ACCOUNT_NUMBER}:{queue.name}",
        }
        asked = told.get("AttributeNames", [])
        return {"Attributes": {n: str(value) for n, value in known.items() if n in asked or "All" in asked}}

    # --- messages --------------------------------------------------------------------------------------------------

    def _send_message(self, told: dict[str, Any]) -> dict[str, Any]:
        body = str(told["MessageBody"])
        if not 1 <= len(body.encode()) <= _LARGEST_BODY:
            raise _invalid("MessageBody", f"of {len(body)} characters")
        message = self._queue(told).send(body, self._clock.now(), delay=float(told.get("DelaySeconds", 0)))
        return {"MessageId": message.message_id, "MD5OfMessageBody": _md5(body)}

    def _receive_message(self, told: dict[str, Any]) -> dict[str, Any]:
        queue = self._queue(told)
        most = _within("MaxNumberOfMessages", told.get("MaxNumberOfMessages", 1), 1, 10)
        wait = told.get("WaitTimeSeconds", queue.attributes["ReceiveMessageWaitTimeSeconds"])
        seconds = told.get("VisibilityTimeout", queue.attributes["VisibilityTimeout"])
        _within("VisibilityTimeout", seconds, 0, _LONGEST_VISIBILITY)
        until = self._clock.now() + timedelta(seconds=_within("WaitTimeSeconds", wait, 0, _LONGEST_WAIT))
        while True:
            self.publish()
            now = self._clock.now()
            if messages := queue.take(most, seconds, now):
                wanted = {*told.get("AttributeNames", []), *told.get("MessageSystemAttributeNames", [])}
                return {"Messages": [_shown(message, wanted) for message in messages]}
            left = (until - now).total_seconds() / self._clock.speed
            if left <= 0:
                return {}
            time.sleep(min(left, _LOOK_EVERY))

    def _delete_message(self, told: dict[str, Any]) -> dict[str, Any]:
        self._queue(told).delete(str(told["ReceiptHandle"]))
        return {}

    def _change_message_visibility(self, told: dict[str, Any]) -> dict[str, Any]:
        seconds = int(told["VisibilityTimeout"])
        self._queue(told).show_again(str(told["ReceiptHandle"]), seconds, self._clock.now())
        return {}

    def _batch(
        self,
        told: dict[str, Any],
        operation: Callable[[dict[str, Any]], dict[str, Any]],
        tells: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Each entry by itself: what one lacks does not concern the others."""
        entries = told["Entries"]
        kind = "EmptyBatchRequest" if not entries else "TooManyEntriesInBatchRequest"
        if not 1 <= len(entries) <= 10:
            raise _Refused(kind, f"AWS.SimpleQueueService.{kind}", "A batch holds 1 to 10 entries.")
        self._queue(told)
        done, failed = [], []
        for entry in entries:
            try:
                said = operation({"QueueUrl": told["QueueUrl"], **entry})
                done.append({"Id": entry["Id"], **{name: said[name] for name in tells}})
            except _Refused as refusal:
                code, message = refusal.code, str(refusal)
                failed.append({"Id": entry["Id"], "SenderFault": True, "Code": code, "Message": message})
        return {"Successful": done, "Failed": failed}

    def _queue(self, told: dict[str, Any]) -> Queue:
        return self._named(str(told["QueueUrl"]).rstrip("/").rpartition("/")[2])

    def _named(self, name: str) -> Queue:
        if name not in self._queues:
            text = "The specified queue does not exist."
            raise _Refused("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", text)
        return self._queues[name]


def _as_received(message: Message) -> dict[str, Any]:
    """Taken down under the queue's lock: a moment later another may have received it."""
    return {
        "MessageId": message.message_id,
        "ReceiptHandle": message.handle,
        "MD5OfBody": _md5(message.body),
        "Body": message.body,
        "Attributes": {
            "ApproximateReceiveCount": str(message.receives),
            "SentTimestamp": _milliseconds(message.sent_at),
            "ApproximateFirstReceiveTimestamp": _milliseconds(message.first_received_at or message.sent_at),
            "SenderId": "AIDAEMULATEDAMAZON",
        },
    }


def _shown(message: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    attributes = {n: v for n, v in message["Attributes"].items() if n in wanted or "All" in wanted}
    without = {name: value for name, value in message.items() if name != "Attributes"}
    return without | ({"Attributes": attributes} if attributes else {})


def _message_id(handle: str) -> str:
    try:
        message_id, mark, _ = base64.b64decode(handle, validate=True).decode().partition("#")
    except ValueError:
        mark = ""
    if not mark:
        raise _Refused("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", "The receipt handle is not valid.")
    return message_id


def _within(name: str, value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise _invalid(name, value)
    return value


def _invalid(name: str, value: object) -> _Refused:
    text = f"Value {value} for parameter {name} is invalid."
    return _Refused("InvalidParameterValueException", "InvalidParameterValue", text)


def _md5(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def _milliseconds(moment: datetime) -> str:
    return str(int(moment.astimezone(UTC).timestamp() * 1000))
