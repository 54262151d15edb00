import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from train import __main__ as training
from train import report, schema
from train.document import Heading, Points, Table, Text, to_html, to_markdown
from train.effects import partial_dependence, permutation_importances
from train.evaluate import costs, threshold_of_least_cost

ROOT = Path(__file__).parents[2]


class References(HTMLParser):
    """Whatever a page would load or lead to."""

    def __init__(self, page):
        super().__init__()
        self.found, self.ids = [], set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.found += [values[name] for name in ("src", "href", "srcset", "data", "action") if name in values]
        self.ids |= {values["id"]} if "id" in values else set()
        assert tag not in ("script", "link", "iframe")


@pytest.fixture(scope="module")
def page(trained):
    return (trained / "report" / "model_card.html").read_text()


@pytest.fixture(scope="module")
def markdown(trained):
    return (trained / "report" / "model_card.md").read_text()


def test_page_asks_the_network_for_nothing_and_its_links_lead_somewhere(page):
    references = References(page)

    pictures = [one for one in references.found if one.startswith("data:image/svg+xml;base64,")]
    links = [one for one in references.found if one.startswith("#")]
    assert len(pictures) == 9
    assert len(pictures) + len(links) == len(references.found)
    assert {link[1:] for link in links} <= references.ids
    assert "@import" not in page
    assert "url(" not in page


def test_pictures_of_the_markdown_lie_beside_it_and_hold_no_link(trained, markdown):
    report_folder = trained / "report"
    pictures = sorted(path.name for path in report_folder.glob("*.svg"))

    assert len(pictures) == 9
    for name in pictures:
        assert f"]({name})" in markdown
        references = [
            value
            for element in ElementTree.parse(report_folder / name).iter()
            for key, value in element.attrib.items()
            if key.endswith("href")
        ]
        assert all(value.startswith(("#", "data:")) for value in references)


@pytest.mark.parametrize("kind", ["page", "markdown"])
def test_card_holds_what_an_analyst_asks(kind, request):
    text = request.getfixturevalue(kind)

    for part in (
        "Intended use and limits",
        "sha256",
        "How the model was chosen",
        "Does it rank?",
        "Do its probabilities come true?",
        "Which threshold, and what it costs",
        "What drives the score",
        "How groups of clients fare",
        "without age, sex, marital status and education",
        "Origin",
    ):
        assert part in text


def test_figures_are_those_of_metrics_json(trained, markdown):
    metrics = json.loads((trained / "metrics.json").read_text())
    auc = metrics["test"]["metrics"]["roc_auc"]
    recall = metrics["test"]["decisions"][1]["metrics"]["recall"]

    assert f"{auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]" in markdown
    assert f"{recall['value']:.3f} [{recall['low']:.3f}, {recall['high']:.3f}]" in markdown
    assert f"{metrics['cross_validation']['roc_auc']:.4f}" in markdown


def test_synthetic_data_are_called_so_first_and_last(markdown):
    title, notice, *rest = markdown.split("\n\n")

    assert title.startswith("# ")
    assert "SYNTHETIC DATA" in notice
    assert "SYNTHETIC DATA" in rest[-1]


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the training's products."""
    for name in ("card.json", "pipeline.joblib", "predictions.csv", "tidy.csv", "cv_results.csv", "metrics.json"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def changed(trained, tmp_path_factory):
    """Report of the same training, had its clients been real and its costs given."""
    folder = tmp_path_factory.mktemp("changed")
    for path in trained.glob("*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    metrics = json.loads((trained / "metrics.json").read_text())
    metrics |= {"synthetic_data": False, "costs": {"false_positive": 2.0, "false_negative": 14.0}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return report.write(folder).parent


def test_real_data_are_not_called_synthetic(changed):
    assert "SYNTHETIC" not in (changed / "model_card.md").read_text()


def test_given_costs_are_reasoned_with(changed):
    text = (changed / "model_card.md").read_text()

    assert "The costs were given: 2 for a client marked who pays, 14 for one not marked who defaults, 7 times" in text
    assert "would be 0.1250" in text


def test_same_training_gives_the_same_figures_to_the_byte(changed, trained):
    names = {path.name for path in changed.glob("*.svg")} - {"costs.svg"}

    assert len(names) == 8
    assert all((changed / name).read_bytes() == (trained / "report" / name).read_bytes() for name in names)


def test_products_of_two_trainings_are_refused(copied, capsys, monkeypatch):
    folder = copied
    pd.read_csv(folder / "predictions.csv").iloc[::-1].to_csv(folder / "predictions.csv", index=False)
    monkeypatch.setattr(sys, "argv", ["report", str(folder)])

    with pytest.raises(SystemExit) as exit_:
        report.main()

    assert exit_.value.code == 2
    assert "not of one training" in capsys.readouterr().err


def test_folder_without_products_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path)])

    with pytest.raises(SystemExit) as exit_:
        report.main()

    assert exit_.value.code == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_report_keeps_clear_of_pyplot_and_training_of_matplotlib(trained):
    code = (
        "import sys, train.__main__; assert 'matplotlib' not in sys.modules; "
        "import train.report, train.figures; assert 'matplotlib.pyplot' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_texts_of_a_document_are_escaped():
    blocks = [
        Heading(1, "a < b"),
        Heading(2, "c"),
        Text("**d** `e<f>`"),
        Points(["g & h"]),
        Table(("i|j", "k"), [("l", "1")]),
    ]

    assert "<strong>d</strong> <code>e&lt;f&gt;</code>" in to_html(blocks)
    assert "<title>a &lt; b</title>" in to_html(blocks)
    assert "<li>g &amp; h</li>" in to_html(blocks)
    assert "| i\\|j | k |\n| :-- | --: |\n| l | 1 |" in to_markdown(blocks)


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    probability = rng.beta(1, 3, 3_000)
    return (rng.uniform(size=3_000) < probability).astype(np.int64), probability


def cost_at(y, probability, threshold, false_positive, false_negative):
    marked = probability.astype(np.float32) >= threshold
    return (false_positive * (marked & (y == 0)) + false_negative * (~marked & (y == 1))).mean()


@pytest.mark.parametrize("costs_of", [(1, 1), (1, 5), (3, 1), (1, 1_000), (1_000, 1), (0.01, 0.03)])
def test_no_other_threshold_costs_less(scored, costs_of):
    y, probability = scored

    threshold = threshold_of_least_cost(y, probability, *costs_of)

    assert 0 < threshold < 1
    assert float(np.float32(threshold)) == threshold
    others = [cost_at(y, probability, other, *costs_of) for other in [*probability.astype(np.float32), 1.1]]
    assert cost_at(y, probability, threshold, *costs_of) == pytest.approx(min(others), abs=1e-12)


def test_threshold_of_right_probabilities_is_near_what_costs_imply(scored):
    y, probability = scored

    assert threshold_of_least_cost(y, probability, 1, 4) == pytest.approx(0.2, abs=0.06)


def test_costs_at_the_ends_are_those_of_marking_nobody_and_everybody(scored):
    y, probability = scored

    cut, cost = costs(y, probability, 2, 3)

    assert cut[0] == np.inf
    assert cost[0] == pytest.approx(3 * y.mean())
    assert cost[-1] == pytest.approx(2 * (1 - y.mean()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cost-false-positive", "1"], "are given together"),
        (["--cost-false-negative", "1"], "are given together"),
        (["--cost-false-positive", "0", "--cost-false-negative", "1"], "'0' is not allowed"),
        (["--cost-false-positive", "1", "--cost-false-negative", "nan"], "'nan' is not allowed"),
        (["--cost-false-positive", "1", "--cost-false-negative", "much"], "'much' is not allowed"),
        (["--calibration", "other"], "invalid choice"),
    ],
)
def test_options_that_say_nothing_are_refused(options, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", *options])

    with pytest.raises(SystemExit) as exit_:
        training.main()

    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_importance_is_large_where_the_target_hangs_on_a_feature_and_none_where_it_does_not(pipeline, clients):
    X, y = clients

    importances = permutation_importances(pipeline, X, y.to_numpy(), {"pay_0": ["pay_0"], "pay_amt_3": ["pay_amt_3"]})

    assert importances["pay_0"][0] > 0.05
    assert abs(importances["pay_amt_3"][0]) < 0.01


def test_partial_dependence_rises_with_months_late(pipeline, rows):
    curve = partial_dependence(pipeline, rows, "pay_0")

    assert curve.values.tolist() == sorted(rows["pay_0"].unique())
    assert curve.mean[-1] > curve.mean[0] + 0.1
    assert (curve.low <= curve.high).all()


def test_partial_dependence_leaves_a_column_of_whole_numbers_whole(pipeline, rows):
    before = rows.copy()

    partial_dependence(pipeline, rows, "limit_balance")

    pd.testing.assert_frame_equal(rows, before)
    assert schema.TARGET not in rows
