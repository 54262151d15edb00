import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.files import replace, replace_all


def test_file_is_replaced_and_no_temporary_is_left(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    replace(path, b"new")

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fault", ["folder in the way", "no such folder"])
def test_files_that_belong_together_are_replaced_all_or_none(fault, tmp_path):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_bytes(b"old")
    if fault == "folder in the way":
        second.mkdir()
    else:
        second = tmp_path / "none" / "b.json"

    with pytest.raises(OSError):
        replace_all({first: b"new", second: b"new"})

    assert first.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} <= {"a.json", "b.json"}


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with ThreadPoolExecutor() as threads:
        received = threads.submit(pipe.read_bytes)
        replace(pipe, b"new")

        assert received.result() == b"new"
    assert pipe.is_fifo()


def test_link_to_a_file_stays_a_link(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"old")
    link.symlink_to(file)

    replace(link, b"new")

    assert link.is_symlink()
    assert file.read_bytes() == b"new"
