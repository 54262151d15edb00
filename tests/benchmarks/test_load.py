"""What the load generator holds answers to."""

import subprocess
import sys

import pandas as pd
import pytest

from benchmarks.load.__main__ import make_cases, memory_of, report
from benchmarks.load.checked import Answered, Case, fault_of, percentiles, read_answers, read_cases, summary, write

CASE = Case("one row", "/predict", "{}", 200, '{"probability":0.25}')


@pytest.mark.parametrize(
    ("status", "answer", "fault"),
    [
        (200, CASE.answer, ""),
        (200, '{"probability":0.26}', "another answer"),
        (200, None, "another answer"),
        (503, '{"message":"Service Unavailable"}', "status 503 in place of 200"),
        (0, None, "lost"),
    ],
)
def test_wrong_answer_is_found(status, answer, fault):
    assert fault_of(CASE, status, answer) == fault


def test_faults_are_counted_by_kind():
    answers = [Answered("V2", 1.0, 0.1, ""), Answered("V2", 2.0, 0.3, "lost"), Answered("wrong", 3.0, 0.2, "lost")]

    counted = summary(answers)

    assert counted["answers"] == 3
    assert counted["faults"] == {"V2: lost": 1, "wrong: lost": 1}
    assert counted["milliseconds"]["V2"]["max"] == 300


def test_percentiles_are_values_that_were_measured():
    assert percentiles([one / 1e3 for one in range(1, 101)]) == pytest.approx(
        {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    )
    assert percentiles([0.007])["p50"] == 7


def test_cases_and_answers_survive_their_files(tmp_path):
    answer = Answered("one row", 1.5, 0.25, "")
    write(tmp_path / "cases", [CASE, CASE])
    write(tmp_path / "answers", [answer])

    assert read_cases(tmp_path / "cases") == [CASE, CASE]
    assert read_answers(tmp_path / "answers") == [answer]


@pytest.fixture
def handler(load_handler, context):
    called = load_handler("http_api").handler
    return lambda event: called(event, context)


def test_cases_are_the_handlers_own_answers(handler, rows, pipeline):
    some = pd.DataFrame(rows[:40])

    cases = make_cases(handler, some, pipeline.predict_proba(some)[:, 1], "credit-card-default")

    kinds = [case.kind for case in cases]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "one row": 26, "explained": 6, "ten rows": 4, "V2": 2, "wrong": 2
    }  # fmt: skip
    assert {case.status for case in cases if case.kind != "wrong"} == {200}
    assert {case.status for case in cases if case.kind == "wrong"} == {422}


def test_answers_that_are_not_the_fitted_models_make_no_case(handler, rows, pipeline):
    some = pd.DataFrame(rows[:5])

    with pytest.raises(ValueError, match="the pipeline says"):
        make_cases(handler, some, pipeline.predict_proba(some)[:, 0], "credit-card-default")


def test_memory_is_read_of_all_processes_by_what_they_are():
    # A server whose child is a function; its own line doesn't hold the word.
    child = "[sys.executable, '-c', 'print(flush=True); input()', 'aws' 'lambdaric']"
    server = [sys.executable, "-c", f"import subprocess, sys; subprocess.run({child})"]
    with subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        found = memory_of(process.pid)
        process.communicate(b"\n")

    assert {kind: len(sizes) for kind, sizes in found.items()} == {"front": 1, "emulator": 0, "function": 1}
    assert all(size > 1e6 for sizes in found.values() for size in sizes)


def test_report_tells_what_is_lost():
    figures = {"sent": 10, "per_second": 100.0, "memory": [{"front": [5 * 10**7]}] * 3}
    figures |= summary([Answered("V2", 1.0, 0.1, "")] * 9)

    lines = list(report("2", figures))

    assert lines[0] == "2 processes: 9 answers, 1 lost, 0 wrong"
    assert lines[-1].endswith("1 x 50.0, 1 x 50.0, 1 x 50.0")
