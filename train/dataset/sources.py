"""Raw data as a table of text cells: from a file, from UCI's download, or from the bundled synthetic portfolio.

Faults raise `DataError`, whose message is a whole sentence for the person at the command line.
"""

import csv
import gzip
import hashlib
import io
import logging
import time
import urllib.request
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple
from urllib.error import HTTPError

import xlrd

from infra.files import replace

UCI_URL = "https://archive.ics.uci.edu/static/public/350/default+of+credit+card+clients.zip"
UCI_SHA256 = "56c885f84457f6680f8438f02bfcdac9579323d8a94465ee5f26e32baa727602"
SYNTHETIC = Path(__file__).parent / "synthetic_portfolio.csv.gz"
_CACHE = Path(__file__).parents[2] / ".cache" / "uci-350.zip"

_SHOWN, _SHOWN_LENGTH = 5, 40

_log = logging.getLogger(__name__)


class DataError(ValueError):
    """The data can't be had, or can't be used; the message says what is wrong and what is allowed."""


class Row(NamedTuple):
    """A row of a file: where it stands, as a person would look for it (``line 7``), and its cells as text."""

    place: str
    cells: list[str]


def read_source(data: str) -> bytes:
    """Read the file that ``--data`` names: ``auto``, ``uci``, ``synthetic`` or a path."""
    if data == "uci":
        return download_uci()
    if data == "auto":
        try:
            return download_uci()
        except DataError as error:
            _log.warning("%s; using the bundled synthetic portfolio", error)
    path = SYNTHETIC if data in ("auto", "synthetic") else Path(data)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"can't read {data}: {error.strerror}; allowed are auto, uci, synthetic, or the path of a file"
        ) from error


def download_uci(url: str = UCI_URL, sha256: str = UCI_SHA256, cache: Path = _CACHE, patience: float = 5.0) -> bytes:
    """Return UCI's zip from the cache, else from the network, checked by its sha256.

    Gives up after ``patience`` seconds without a byte, name lookup included, or a minute in all.
    """
    with suppress(OSError):  # a cache that can't be read is no cache
        if hashlib.sha256(content := cache.read_bytes()).hexdigest() == sha256:
            return content
    content = b"".join(_receive(url, patience))
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise DataError(f"{url} gave a file with sha256 {found}, not the known {sha256}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        replace(cache, content)
    except OSError as error:
        _log.warning("can't keep the download in %s: %s", cache, error.strerror)
    return content


def _receive(url: str, patience: float) -> Iterable[bytes]:
    """Yield the parts of a download; a thread reads them, because no timeout of a socket bounds the name lookup."""
    parts: SimpleQueue[bytes | Exception] = SimpleQueue()

    def receive() -> None:
        try:
            with urllib.request.urlopen(url, timeout=patience) as response:
                while part := response.read1(2**16):
                    parts.put(part)
            parts.put(b"")
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError):  # which is the response, too
                error.close()
            parts.put(error)

    Thread(target=receive, daemon=True).start()
    end = time.monotonic() + 60.0
    while True:
        try:
            part = parts.get(timeout=max(0.0, min(patience, end - time.monotonic())))
        except Empty:
            raise DataError(f"UCI's file can't be downloaded: {url} doesn't answer in time") from None
        if isinstance(part, Exception):
            raise DataError(f"UCI's file can't be downloaded from {url}: {part}") from part
        if not part:
            return
        yield part


def shorten(names: Sequence[str]) -> str:
    """Quote a file's own names so that they stay on one line, however many and long they are."""
    shown = ", ".join(repr(name[:_SHOWN_LENGTH]) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown or "nothing"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def unpack(content: bytes) -> bytes:
    """Return the .xls or CSV file inside a zip or gzip file, or the content itself."""
    try:
        if content.startswith(b"\x1f\x8b"):
            return gzip.decompress(content)
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
                tables = [name for name in names if name.lower().endswith((".xls", ".csv"))]
                if len(tables) != 1:
                    raise DataError(f"a zip file must hold one .xls or .csv file; this one holds {shorten(names)}")
                return archive.read(tables[0])
    except DataError:
        raise
    except Exception as error:  # zlib.error, LZMAError, EOFError, a negative seek: each decompressor has its own
        raise DataError(f"the compressed file is damaged or encrypted: {_one_line(error)}") from error
    return content


def read_table(content: bytes) -> list[Row]:
    """Read the rows of an unpacked .xls or CSV file, all but blank ones, the header (or headers) first."""
    rows = _read_xls(content) if content.startswith(b"\xd0\xcf\x11\xe0") else _read_csv(content)
    if not rows:
        raise DataError("the file is empty; a header and at least one row are needed")
    width = len(rows[0].cells)
    for place, cells in rows:
        if len(cells) != width:
            raise DataError(f"{place}: {len(cells)} cells, where the header has {width}")
    return rows


def _read_csv(content: bytes) -> list[Row]:
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        rows = [Row(f"line {reader.line_num}", [cell.strip() for cell in cells]) for cells in reader]
        return [row for row in rows if any(row.cells) or len(row.cells) > 1]
    except UnicodeDecodeError as error:
        raise DataError(f"neither zip, gzip, .xls nor UTF-8 text (byte {error.start}); allowed are these") from error
    except csv.Error as error:
        place = f"line {reader.line_num}"
        raise DataError(f"{place} is no CSV: {error}; cells stand between commas, quoted whole") from error


def _read_xls(content: bytes) -> list[Row]:
    try:
        sheet = xlrd.open_workbook(file_contents=content, logfile=io.StringIO()).sheet_by_index(0)
    except Exception as error:  # on a damaged file xlrd raises whatever its parser stumbles over
        raise DataError(f"the .xls file is damaged: {_one_line(error)}") from error
    rows = [Row(f"row {i}", [_cell_text(cell) for cell in cells]) for i, cells in enumerate(sheet.get_rows(), 1)]
    return [row for row in rows if any(row.cells)]


def _cell_text(cell: xlrd.sheet.Cell) -> str:
    if cell.ctype == xlrd.XL_CELL_NUMBER:
        return repr(cell.value).removesuffix(".0")
    if cell.ctype == xlrd.XL_CELL_ERROR:
        return str(xlrd.error_text_from_code.get(cell.value, "an error"))
    of_no_number = {xlrd.XL_CELL_DATE: "a date", xlrd.XL_CELL_BOOLEAN: "a truth value"}
    return of_no_number.get(cell.ctype, str(cell.value).strip())
