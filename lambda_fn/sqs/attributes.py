"""Message attributes: from SQS's records and SNS's envelopes to what SQS's API takes, and which are carried over."""

from collections.abc import Mapping
from typing import TypedDict

import msgspec

# What these say of the request is not true of its outcome, and the client that reads it would act on it: fetch a body
# from S3 that isn't there (Amazon's Extended Client Library under its two names, and its ports), or make a Java object
# of the bytes (the Java Message Service client).
STEERING = frozenset({"ExtendedPayloadSize", "SQSLargePayloadSize", "S3MessageBodyKey", "JMS_SQSMessageType"})
_POINTING = STEERING - {"JMS_SQSMessageType"}


class Attribute(TypedDict, total=False):
    """A message attribute as SQS's API takes it."""

    DataType: str
    StringValue: str
    BinaryValue: bytes


class RecordAttribute(msgspec.Struct, rename="camel"):
    """A message attribute as a record has it."""

    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None  # base64 in the event

    def read(self) -> Attribute:
        """Give it as the API takes it."""
        if self.binary_value is not None:
            return {"DataType": self.data_type, "BinaryValue": self.binary_value}
        return {"DataType": self.data_type, "StringValue": self.string_value or ""}


class NotificationAttribute(msgspec.Struct, rename="pascal"):
    """A message attribute as SNS's envelope has it."""

    type: str
    value: str

    def read(self) -> Attribute:
        """Give it as the API takes it; raises `msgspec.ValidationError` where it is not the base64 that it says."""
        if self.type == "Binary":
            return {"DataType": self.type, "BinaryValue": msgspec.convert(self.value, bytes)}
        return {"DataType": self.type, "StringValue": self.value}


def carried(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Choose those that an outcome takes over from its message: all but `STEERING`."""
    return {name: attribute for name, attribute in attributes.items() if name not in STEERING}


def point_into_s3(attributes: Mapping[str, Attribute]) -> bool:
    """Tell whether attributes say that the message's body lies in S3."""
    return not _POINTING.isdisjoint(attributes)


def size_of(attributes: Mapping[str, Attribute]) -> int:
    """Count the bytes that SQS counts: of each attribute's name, type and value."""
    size = 0
    for name, attribute in attributes.items():
        value = attribute.get("BinaryValue") or attribute.get("StringValue", "").encode()
        size += len(name.encode()) + len(attribute["DataType"].encode()) + len(value)
    return size
