"""Requests over a socket, answered by whatever status."""

import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def post(address, content):
    """Post JSON; give status and decoded answer."""
    request = Request(address, json.dumps(content).encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(request) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)
