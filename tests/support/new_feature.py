"""Put a new feature into the requests of tests/events: ``python tests/support/new_feature.py NAME VALUE``.

Behind each ``limit_balance``, also where a request is a text of JSON, or base64, inside the event.
"""

import base64
import json
import re
import sys
from pathlib import Path


def with_feature(text, name, value):
    """Write the feature behind ``limit_balance``, in quotes as that is."""
    beside = rf'\1, \2"{name}\2": \g<3>{value}\g<3>'
    return re.sub(r'((\\*)"limit_balance\2": (\\*"|)[0-9]+\3)', beside, text)


def put(path, name, value):
    """Put the feature into a file of one event; all else stays as it is."""
    text = path.read_text()
    event = json.loads(text)
    changed = with_feature(text, name, value)
    if isinstance(event, dict) and event.get("isBase64Encoded"):
        inside = with_feature(base64.b64decode(event["body"]).decode(), name, value)
        changed = text.replace(event["body"], base64.b64encode(inside.encode()).decode())
    path.write_text(changed)


if __name__ == "__main__":
    for path in sorted(Path("tests/events").glob("*.json")):
        put(path, *sys.argv[1:3])
