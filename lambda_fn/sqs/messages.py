"""SQS events to messages: id, body without envelopes, what is carried over, and what SQS knows of earlier attempts."""

import time
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from lambda_fn.events import UnknownEvent
from lambda_fn.sqs.attributes import Attribute, NotificationAttribute, RecordAttribute, carried, point_into_s3

SOURCE = "aws:sqs"
_KNOWN = "SQS's events, as Lambda's own event source hands them over"
# An event of EventBridge may come by way of SNS. Nobody's envelope is in another of its own kind.
_MAX_ENVELOPES = 2
# Of the 300 that SQS keeps a deduplication id for; `lambda_fn.sqs.results` says what the rest is for.
SAFE_SECONDS = 280


class Message(NamedTuple):
    """A message to score.

    ``body`` is a payload, without the envelopes of SNS and EventBridge; ``is_in_s3`` says that it is but a pointer to
    one. ``queue`` is the ARN of the queue that it came from, ``handle`` what that queue knows this receive by;
    ``receives`` counts this one, and ``first_received`` (seconds since 1970) is the first one's time.
    """

    id: str
    body: bytes
    attributes: dict[str, Attribute]
    trace_header: str | None = None
    is_in_s3: bool = False
    queue: str = ""
    handle: str = ""
    receives: int = 1
    first_received: float | None = None

    @property
    def latest(self) -> float | None:
        """Until when an outcome may be sent (seconds since 1970), lest there be two; None where any time will do."""
        if self.receives == 1 or self.first_received is None:
            return None
        return self.first_received + SAFE_SECONDS


class _SystemAttributes(msgspec.Struct, rename="pascal"):
    approximate_receive_count: Annotated[int, msgspec.Meta(ge=1)] = 1
    approximate_first_receive_timestamp: float | None = None  # milliseconds
    trace_header: str | None = msgspec.field(name="AWSTraceHeader", default=None)


class _Record(msgspec.Struct, rename="camel"):
    # What a deduplication id may be; SQS's own message ids are UUIDs.
    message_id: Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{1,128}\Z")]
    body: str
    receipt_handle: str = ""
    event_source_arn: str = msgspec.field(name="eventSourceARN", default="")
    attributes: _SystemAttributes = msgspec.field(default_factory=_SystemAttributes)
    message_attributes: dict[str, RecordAttribute] = {}


class _Notification(msgspec.Struct, rename="pascal"):
    type: Literal["Notification"]
    topic_arn: str
    message: str
    message_attributes: dict[str, NotificationAttribute] = {}


class _BusEvent(msgspec.Struct, rename="kebab"):
    detail_type: str
    source: str
    account: str
    detail: msgspec.Raw


# The libraries write the pointer with the name of its class: ["software.amazon....PayloadS3Pointer", {...}].
_Pointer = tuple[Annotated[str, msgspec.Meta(pattern=r"\A[\w.]+S3Pointer\Z")], dict[str, str]]

_notification_decoder = msgspec.json.Decoder(_Notification)
_bus_event_decoder = msgspec.json.Decoder(_BusEvent)
_pointer_decoder = msgspec.json.Decoder(_Pointer)


def read_messages(event: Any) -> list[Message]:
    """Read the messages of an event.

    Raises
    ------
    UnknownEvent
        Where it is not SQS's, or not in each of its records; the message names what came. To answer such an event
        would tell its source that the records were dealt with.
    """
    if isinstance(event, list):
        raise UnknownEvent(
            event, f"{_KNOWN}; an array is what EventBridge Pipes sends: make the queue the event source"
        )
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        raise UnknownEvent(event, _KNOWN)
    if not all(isinstance(record, dict) and record.get("eventSource") == SOURCE for record in records):
        raise UnknownEvent(event, _KNOWN)
    try:
        return [_message(msgspec.convert(record, _Record, strict=False)) for record in records]
    except msgspec.ValidationError as error:
        raise UnknownEvent(event, f"{_KNOWN}, and these are not ({error})") from None


def is_too_late(message: Message, now: float | None = None) -> bool:
    """Tell whether nothing may be sent for a message any more."""
    return message.latest is not None and (time.time() if now is None else now) > message.latest


def _message(record: _Record) -> Message:
    attributes = {name: attribute.read() for name, attribute in record.message_attributes.items()}
    body, more = _unwrap(record.body)
    attributes |= more
    known = record.attributes
    first_received = known.approximate_first_receive_timestamp
    return Message(
        id=record.message_id,
        # Half of a surrogate pair is left to be found by whoever decodes the body.
        body=body.encode(errors="surrogatepass"),
        attributes=carried(attributes),
        trace_header=known.trace_header,
        is_in_s3=_is_pointer(body) or (point_into_s3(attributes) and not body.lstrip().startswith("{")),
        queue=record.event_source_arn,
        handle=record.receipt_handle,
        receives=known.approximate_receive_count,
        first_received=None if first_received is None else first_received / 1000,
    )


def _unwrap(body: str) -> tuple[str, dict[str, Attribute]]:
    """Take a payload, and the attributes with it, out of its envelopes; any other body is the payload itself."""
    attributes: dict[str, Attribute] = {}
    for _ in range(_MAX_ENVELOPES):
        # The names spare most bodies a second parse.
        try:
            if '"Notification"' in body:
                notification = _notification_decoder.decode(body)
                attributes |= {name: attribute.read() for name, attribute in notification.message_attributes.items()}
                body = notification.message
            elif '"detail-type"' in body:
                body = bytes(_bus_event_decoder.decode(body).detail).decode()
            else:
                break
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            break
    return body, attributes


def _is_pointer(body: str) -> bool:
    if "S3Pointer" not in body:
        return False
    try:
        _pointer_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True
