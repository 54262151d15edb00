"""SQS records to messages: id, body, and what must be carried over. Knows no model."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from lambda_fn.observability import logger
from lambda_fn.results_queue import Attribute


class Message(NamedTuple):
    """A message to score; ``body`` is a payload, without the envelope that SNS puts around it."""

    id: str
    body: bytes
    attributes: dict[str, Attribute]
    trace_header: str | None


class _RecordAttribute(msgspec.Struct, rename="camel"):
    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None  # base64 in the event


class _Record(msgspec.Struct, rename="camel"):
    # What a deduplication id may be; SQS's own message ids are UUIDs.
    message_id: Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{1,128}\Z")]
    body: str
    attributes: dict[str, str] = {}
    message_attributes: dict[str, _RecordAttribute] = {}


class _NotificationAttribute(msgspec.Struct, rename="pascal"):
    type: str
    value: str


class _Notification(msgspec.Struct, rename="pascal"):
    type: Literal["Notification"]
    topic_arn: str
    message: str
    message_attributes: dict[str, _NotificationAttribute] = {}


_notification_decoder = msgspec.json.Decoder(_Notification)


def read_messages(records: Iterable[Any]) -> Iterator[Message]:
    """Read the records of an event.

    SQS gives each record an id. One without can be neither answered (its outcome could not be deduplicated) nor named
    in a batch response (Lambda would retry all the others), so it is logged and left out.
    """
    for index, record in enumerate(records):
        try:
            read = msgspec.convert(record, _Record)
        except msgspec.ValidationError as error:
            logger.error("a record is not one of SQS's", extra={"record": index, "reason": str(error)})
        else:
            yield _message(read)


def _message(record: _Record) -> Message:
    carried = {name: _attribute(attribute) for name, attribute in record.message_attributes.items()}
    body, more = _unwrap(record.body)
    # Half of a surrogate pair is left to be found by whoever decodes the body.
    payload = body.encode(errors="surrogatepass")
    return Message(record.message_id, payload, carried | more, record.attributes.get("AWSTraceHeader"))


def _attribute(attribute: _RecordAttribute) -> Attribute:
    if attribute.binary_value is not None:
        return {"DataType": attribute.data_type, "BinaryValue": attribute.binary_value}
    return {"DataType": attribute.data_type, "StringValue": attribute.string_value or ""}


def _unwrap(body: str) -> tuple[str, dict[str, Attribute]]:
    """Take a payload and its attributes out of SNS's envelope; any other body is the payload itself."""
    if '"Notification"' in body:  # spares most bodies a second parse
        with suppress(msgspec.DecodeError, UnicodeError, RecursionError):
            notification = _notification_decoder.decode(body)
            attributes = notification.message_attributes.items()
            return notification.message, {name: _from_notification(attribute) for name, attribute in attributes}
    return body, {}


def _from_notification(attribute: _NotificationAttribute) -> Attribute:
    if attribute.type == "Binary":
        return {"DataType": attribute.type, "BinaryValue": msgspec.convert(attribute.value, bytes)}
    return {"DataType": attribute.type, "StringValue": attribute.value}
