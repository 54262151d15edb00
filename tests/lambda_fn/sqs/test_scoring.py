"""What of an event's messages is done, in which order, and what becomes of the rest.

Scores come from a real model. Time is made up: a clock that each row moves on by what it is said to take, so that a
small model can stand for any.
"""

import json
from functools import partial
from types import SimpleNamespace

import pytest

from lambda_fn.service import Service
from lambda_fn.settings import read_settings
from lambda_fn.sqs import scoring
from lambda_fn.sqs.messages import SAFE_SECONDS, Message
from lambda_fn.sqs.requests import delays
from lambda_fn.sqs.results import MAX_BYTES
from lambda_fn.sqs.scoring import Scorer

TIMEOUT = 10.0
WHOLE = 6.5  # of the timeout, without what is kept for the last call
MAX_RECEIVES, VISIBILITY = 5, 61


class SlowService:
    """A service whose rows take as long as they are told to, by a clock of its own."""

    scorer: Scorer

    def __init__(self, service, explained, plain=None):
        self._service = service
        if plain is None:
            plain = explained / service.model.work(explain=True)
        self.seconds = {False: plain, True: explained}
        self.now = 1_755_693_296.0
        self.slices = []
        self.model = SimpleNamespace(card=service.card, score=self.score)

    def __getattr__(self, name):
        return getattr(self._service, name)

    def score(self, X, explain):
        self.now += X.rows * self.seconds[explain]

    def predict_each(self, batches, started):
        self.slices.append(sum(batch.X.rows for batch in batches))
        self.now += sum(batch.X.rows * self.seconds[batch.explain] for batch in batches)
        return self._service.predict_each(batches, started)


@pytest.fixture(scope="module")
def service(model_path):
    return Service.open(read_settings({"MODEL_PATH": str(model_path)}))


@pytest.fixture
def slow(service, monkeypatch):
    """Make a slow service and its scorer."""

    def make(explained=0.001, **seconds):
        slow = SlowService(service, explained, **seconds)
        monkeypatch.setattr(scoring, "perf_counter", lambda: slow.now)
        slow.scorer = Scorer(slow)
        return slow

    return make


@pytest.fixture(scope="module")
def instances(rows):
    return rows.to_dict("records")


@pytest.fixture(scope="module")
def message(instances):
    """Make a message of so many rows."""

    def make(message_id, rows, explain=True, **more):
        chosen = [instances[i % len(instances)] for i in range(rows)]
        return Message(message_id, json.dumps({"instances": chosen, "explain": explain}).encode(), {}, **more)

    return make


def invoke(slow, messages, timeout=TIMEOUT):
    """Hand messages to the scorer; gives the outcomes in their order, and what is postponed."""
    end, postponed = slow.now + timeout, []
    outcomes = slow.scorer.outcomes(messages, lambda: int(1000 * (end - slow.now)), postponed)
    done = {outcome.message_id: json.loads(outcome.body) for outcome in outcomes}
    assert slow.now < end - 2, "no time was left to send"
    return done, postponed


def ids(postponed):
    return [one.message.id for one in postponed]


def test_what_fits_into_a_slice_goes_together(slow, message):
    service = slow()

    done, postponed = invoke(service, [message(str(i), 3) for i in range(20)] + [message("plain", 7, explain=False)])

    assert sorted(service.slices) == [7, 60]
    assert len(done) == 21
    assert postponed == []


def test_large_message_is_scored_in_slices_and_answered_as_a_whole(slow, message, service):
    large = message("large", 500)

    done, _ = invoke(slow(explained=0.005), [large])

    expected = service.predict(service.read(large.body), 0.0)
    assert [prediction["probability"] for prediction in done["large"]["predictions"]] == [
        prediction.probability for prediction in expected.predictions
    ]
    assert done["large"]["model_version"] == service.card.version


def test_clock_is_looked_at_several_times_a_second(slow, message):
    service = slow(explained=0.01)
    invoke(service, [message("first", 100)])
    service.slices.clear()

    invoke(service, [message("second", 400)])

    assert max(service.slices) * 0.01 <= 0.25


def test_most_received_go_first_and_of_these_the_smallest(slow, message):
    messages = [
        message("large", 90),
        message("small", 2),
        message("old", 50, receives=2),
        message("oldest", 9, receives=4),
    ]

    done, _ = invoke(slow(explained=0.01), messages)

    assert list(done) == ["oldest", "old", "small", "large"]


def test_problems_are_told_before_any_work_is_done(slow, message):
    service = slow(explained=0.01)
    postponed = []
    outcomes = service.scorer.outcomes([message("a", 1), Message("bad", b"?", {})], lambda: 10_000, postponed)

    assert next(outcomes).message_id == "bad"
    assert service.slices == []


def test_what_does_not_fit_is_postponed_with_what_it_needs(slow, message):
    done, postponed = invoke(slow(explained=0.01), [message(str(i), 100) for i in range(10)])

    assert len(done) == 6
    assert ids(postponed) == [str(i) for i in range(6, 10)]
    assert [one.seconds for one in postponed] == pytest.approx([1.0] * 4, rel=0.01)


def test_nothing_is_done_without_time(slow, message):
    service = slow(explained=0.01)

    done, postponed = invoke(service, [message("a", 1), message("b", 1, explain=False)], timeout=3.4)

    assert (done, len(postponed), service.slices) == ({}, 2, [])


def test_message_that_can_never_fit_is_refused_early_with_what_would(slow, message, output):
    service = slow(explained=0.05, plain=0.0001)

    done, postponed = invoke(
        service, [message("huge", 900), *(message(str(i), 1, explain=i % 2 == 1) for i in range(50))]
    )

    assert postponed == []
    assert sum("predictions" in outcome for outcome in done.values()) == 50
    assert done["huge"]["title"] == "Too many rows"
    assert done["huge"]["detail"].startswith("900 rows take longer")
    _, metrics, _ = output()
    assert sum(line.get("RowsRefused", 0) for line in metrics) == 900
    # What it says does fit, beside the same neighbours.
    fitting = int(done["huge"]["detail"].split("about ")[1].split()[0])
    assert 0.5 * WHOLE < fitting * 0.05 < WHOLE
    assert sum(service.slices) < 100
    done, _ = invoke(service, [message("fits", fitting), *(message(str(i), 1) for i in range(20))])
    assert len(done["fits"]["predictions"]) == fitting


def test_message_at_the_limit_gets_its_chance_and_takes_no_neighbour_with_it(slow, message):
    """It needs a little more than there is. Beside others it is postponed; first of all, it is tried, then refused."""
    service = slow(explained=0.01)
    neighbours = [message(str(i), 100) for i in range(3)]

    done, postponed = invoke(service, [message("limit", 700), *neighbours])

    assert done.keys() == {"0", "1", "2"}
    assert ids(postponed) == ["limit"]

    neighbours = [message(str(i), 1) for i in range(3)]
    done, postponed = invoke(service, [message("limit", 700, receives=2), *neighbours])

    assert done["limit"]["title"] == "Too many rows"
    assert ids(postponed) == ["0", "1", "2"]


def test_message_that_fits_alone_is_done_at_its_second_receive(slow, message):
    service = slow(explained=0.01)

    _, postponed = invoke(service, [message("long", 600), message("other", 200)])
    done, _ = invoke(service, [message("long", 600, receives=2), message("more", 200)])

    assert ids(postponed) == ["long"]
    assert done.keys() == {"long"}


def test_wrong_guess_about_a_row_judges_nobody(slow, message):
    service = slow()
    service.seconds[True] = 1e-6
    service.scorer._tempos[True]._guess = 1_000.0

    done, postponed = invoke(service, [message("a", 100), message("b", 100)])

    assert (len(done), postponed) == (2, [])


def test_outcome_that_grows_too_large_is_given_up_before_the_last_row(slow, message):
    service = slow(explained=0.001)

    done, _ = invoke(service, [message("large", 4_000)])

    assert done["large"]["title"] == "Result too large"
    assert sum(service.slices) < 4_000
    fitting = int(done["large"]["detail"].split("about ")[1].split()[0])
    (outcome,) = service.scorer.outcomes([message("fits", fitting)], lambda: 10_000, [])
    assert MAX_BYTES / 2 < outcome.size <= MAX_BYTES
    assert "predictions" in json.loads(outcome.body)


@pytest.mark.parametrize(
    ("messages", "size", "seconds"),
    [
        pytest.param(100, 20, 0.009, id="100 messages, 18 s of work"),
        pytest.param(40, 20, 0.25, id="40 messages of 5 s each"),
        pytest.param(100, 10, 0.2, id="100 messages of 2 s each"),
        pytest.param(30, 1, 5.0, id="30 rows of 5 s each"),
    ],
)
@pytest.mark.parametrize("functions", [1, 5])
def test_no_message_dies_of_the_batch_that_it_came_in(messages, size, seconds, functions, slow, message, monkeypatch):
    """Play the event source, its queue and its clock, without any fault, for one function or several of them."""
    services = [slow(explained=seconds) for _ in range(functions)]
    start = services[0].now
    free = [start] * functions
    queue = [SimpleNamespace(message=message(str(i), size), visible=start) for i in range(messages)]
    done = {}
    while queue:
        # The function that is free first takes what is visible then, or next.
        place = min(range(functions), key=free.__getitem__)
        now = max(free[place], min(one.visible for one in queue))
        batch = [one for one in queue if one.visible <= now][:100]
        for one in batch:
            one.visible = now + VISIBILITY
            assert one.message.receives <= MAX_RECEIVES
            assert now - (one.message.first_received or now) < SAFE_SECONDS
        service = services[place]
        monkeypatch.setattr(scoring, "perf_counter", partial(getattr, service, "now"))
        service.now = now
        outcomes, postponed = invoke(
            service,
            [one.message._replace(first_received=one.message.first_received or now) for one in batch],
        )
        free[place] = service.now
        done |= outcomes
        waits = dict(zip(ids(postponed), delays(postponed, service.scorer.whole_seconds, service.now), strict=True))
        for one in batch:
            if one.message.id in waits:
                one.visible = service.now + waits[one.message.id]
                one.message = one.message._replace(
                    receives=one.message.receives + 1, first_received=one.message.first_received or now
                )
            else:
                queue.remove(one)
    assert len(done) == messages
    assert all("predictions" in outcome for outcome in done.values())
