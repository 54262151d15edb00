import hashlib
import socket
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from credit_files import UCI_HEADER, csv_file, uci_rows, xls_file, zip_file
from train.dataset import sources, tidy
from train.dataset.sources import SYNTHETIC, DataError, download_uci, read_source, read_table

ZIP = zip_file({"default of credit card clients.xls": xls_file(uci_rows())})
SHA256 = hashlib.sha256(ZIP).hexdigest()


@contextmanager
def serving(answer):
    """Serve one answer to every request, a function of the request's handler; yield the address and the requests."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            answer(self)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/uci.zip", requests
        server.shutdown()
        thread.join()


def sending(content, status=200, length=None):
    def answer(request):
        request.send_response(status)
        request.send_header("Content-Length", str(len(content) if length is None else length))
        request.end_headers()
        request.wfile.write(content)

    return answer


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "uci.zip"


def test_download_is_checked_and_kept(cache):
    with serving(sending(ZIP)) as (url, requests):
        contents = [download_uci(url, SHA256, cache) for _ in range(3)]

    assert contents == [ZIP] * 3
    assert len(requests) == 1
    assert list(cache.parent.iterdir()) == [cache]


def test_kept_download_needs_no_network(cache):
    with serving(sending(ZIP)) as (url, _):
        download_uci(url, SHA256, cache)

    assert download_uci(url, SHA256, cache) == ZIP


def test_damaged_cache_is_downloaded_again(cache):
    cache.parent.mkdir()
    cache.write_bytes(ZIP[:-1])

    with serving(sending(ZIP)) as (url, _):
        assert download_uci(url, SHA256, cache) == ZIP

    assert cache.read_bytes() == ZIP


def test_cache_that_cannot_be_written_is_done_without(tmp_path, caplog):
    (tmp_path / "file").touch()

    with serving(sending(ZIP)) as (url, _):
        assert download_uci(url, SHA256, tmp_path / "file" / "uci.zip") == ZIP

    assert "can't keep the download" in caplog.text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (sending(b"another file"), "gave a file with sha256 [0-9a-f]{64}, not the known"),
        (sending(ZIP[:100], length=len(ZIP)), "not the known|IncompleteRead"),
        (sending(b"", status=404), "can't be downloaded from .*: HTTP Error 404"),
        (lambda request: request.wfile.write(b"nonsense\r\n\r\n"), "can't be downloaded from .*nonsense"),
        (lambda request: request.connection.shutdown(socket.SHUT_RDWR), "can't be downloaded from "),
    ],
    ids=["another file", "cut off", "not found", "no HTTP", "hangs up"],
)
def test_bad_download_is_refused_and_not_kept(answer, message, cache):
    with serving(answer) as (url, _), pytest.raises(DataError, match=message):
        download_uci(url, SHA256, cache)

    assert not cache.exists()


def test_server_that_is_not_there_is_said(cache):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"

        with pytest.raises(DataError, match=r"can't be downloaded from .*refused"):
            download_uci(url, SHA256, cache)


@pytest.mark.parametrize("sent", [b"", ZIP[:100]], ids=["before the first byte", "in the middle"])
def test_server_that_falls_silent_is_given_up(sent, cache):
    over = threading.Event()

    def answer(request):
        sending(sent, length=len(ZIP))(request)
        over.wait()

    with serving(answer) as (url, _):
        try:
            with pytest.raises(DataError, match=r"can't be downloaded.*(in time|timed out)"):
                download_uci(url, SHA256, cache, patience=0.2)
        finally:
            over.set()

    assert not cache.exists()


def test_auto_takes_ucis_file_where_it_can(cache, monkeypatch):
    with serving(sending(ZIP)) as (url, _):
        monkeypatch.setattr(sources, "download_uci", partial(download_uci, url, SHA256, cache))
        monkeypatch.setattr(tidy, "YEH_CONTENT", tidy.content_of(tidy.load("uci").raw))

        loaded = tidy.load("auto")

    assert str(loaded) == (
        "Data: UCI Machine Learning Repository 350, default of credit card clients (Yeh, 2009), CC BY 4.0, 60 rows."
    )
    assert loaded.sha256 == SHA256


def test_auto_falls_back_to_the_synthetic_portfolio_and_says_so(cache, monkeypatch, caplog):
    with serving(sending(b"", status=503)) as (url, _):
        monkeypatch.setattr(sources, "download_uci", partial(download_uci, url, SHA256, cache))

        assert read_source("auto") == SYNTHETIC.read_bytes()

    (record,) = caplog.records
    assert record.getMessage().endswith("HTTP Error 503: Service Unavailable; using the bundled synthetic portfolio")


def test_uci_falls_back_to_nothing(cache, monkeypatch):
    with serving(sending(b"", status=503)) as (url, _):
        monkeypatch.setattr(sources, "download_uci", partial(download_uci, url, SHA256, cache))

        with pytest.raises(DataError, match="503"):
            read_source("uci")


def test_table_names_the_lines_of_a_file():
    content = csv_file(UCI_HEADER[:2], [["1", "2"], ["3", '"4\n"']]).replace(b"3,", b"\n3,")

    rows = read_table(content)

    assert [row.cells for row in rows] == [["ID", "LIMIT_BAL"], ["1", "2"], ["3", "4"]]
    assert [row.place for row in rows] == ["line 1", "line 2", "line 5"]


def test_blank_rows_of_a_workbook_are_left_out():
    rows = uci_rows(3)

    read = read_table(xls_file([rows[0], [""] * 25, *rows[1:]]))[2:]

    assert [row.cells for row in read] == rows
    assert [row.place for row in read] == ["row 3", "row 5", "row 6"]
