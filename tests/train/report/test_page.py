import copy
import dataclasses
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pandas as pd
import pytest

from lambda_fn.card import Interval
from train import products
from train.dataset.tidy import YEH
from train.evaluation.effects import dependence, permutation_importances
from train.evaluation.groups import Characteristic, Gap
from train.model.decision import Costs
from train.model.pipeline import uncalibrated
from train.report import __main__ as command
from train.report import figures, tables, words
from train.report.page import render, to_html

ROOT = Path(__file__).parents[3]


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
def read(trained):
    return products.read(trained)


@pytest.fixture(scope="module")
def drivers(read):
    return tables.drivers(read)


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
    pictures = sorted((trained / "report").glob("*.svg"))

    assert len(pictures) == 9
    for path in pictures:
        assert f"]({path.name})" in markdown
        references = [
            value
            for element in ElementTree.parse(path).iter()
            for key, value in element.attrib.items()
            if key.endswith("href")
        ]
        assert all(value.startswith(("#", "data:")) for value in references)


@pytest.mark.parametrize("kind", ["page", "markdown"])
@pytest.mark.parametrize(
    "part",
    [
        "Version of the file",
        "Proof that the file decides as the model",
        "Owner",
        "Licence of the data",
        "Protected characteristics it decides by",
        "Intended use and limits",
        "sha256",
        "How the model was chosen",
        "Challengers",
        "Gini",
        "Gains",
        "Do its probabilities come true?",
        "Which threshold, and what it costs",
        "The training part at the threshold",
        "F1, macro mean",
        "AUC lost when shuffled",
        "What is chance in it",
        "How groups of clients fare",
        "Human oversight",
        "Monitoring",
        "Origin",
    ],
)
def test_card_holds_what_a_risk_officer_asks(kind, part, request):
    assert part in request.getfixturevalue(kind)


def test_figures_are_those_of_metrics_json(read, markdown):
    measured = read.metrics.test

    assert words.interval(measured.metrics["roc_auc"]) in markdown
    assert words.interval(measured.decisions[1].metrics["recall"]) in markdown
    assert f"{read.metrics.choice.roc_auc:.4f}" in markdown
    for group in read.metrics.variants[0].by["sex"].groups:
        assert words.percents(group.selection_rate, "") in markdown


def test_every_row_of_every_table_has_as_many_cells_as_its_header(markdown):
    width = 0
    for line in markdown.splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = line.count("|") - line.count("\\|")
        assert width in (0, cells), line
        width = cells


def test_synthetic_data_are_called_so_first_and_last(markdown):
    title, notice, *rest = markdown.split("\n\n")

    assert title.startswith("# ")
    assert "SYNTHETIC DATA" in notice
    assert "SYNTHETIC DATA" in rest[-1]


def changed(read, data=None, **metrics):
    """The same training, had something been otherwise."""
    described = msgspec.structs.replace(read.metrics.data, **(data or {}))
    proof = {"model_version": "0123456789ab", "method": "exact", "witnesses": {"a": {"rows": 7, "labels_differing": 0}}}
    return dataclasses.replace(
        read, metrics=msgspec.structs.replace(read.metrics, data=described, **metrics), proof=proof
    )


@pytest.mark.parametrize(("source", "known"), [(YEH, True), ("a file with the tidy table's column names", False)])
def test_limits_fit_the_data(source, known, read, drivers):
    text = render(changed(read, {"synthetic": False, "source": source}), drivers)

    assert "SYNTHETIC" not in text
    assert ("One bank, one crisis" in text) == ("Taiwanese" in text) == known
    assert ("These clients alone" in text) == (not known)


def test_the_version_of_the_file_and_its_proof_are_named_once_there_is_one(read, drivers, markdown):
    text = render(changed(read), drivers)

    assert "0123456789ab" in text
    assert "every split, for every value; 7 rows scored by both, 0 labels differ" in text
    assert "not exported yet" in markdown


def test_given_costs_are_reasoned_with(read, drivers):
    text = render(changed(read, costs=Costs(2.0, 14.0)), drivers)

    assert "The costs were given: 2 for a client marked who pays, 14 for one not marked who defaults, 7 times" in text
    assert "would be 0.1250" in text


def with_gaps(read, *values):
    """The same training, had its groups these gaps with all features, and without the protected ones."""
    found = []
    for variant, (marked, ratio) in zip(read.metrics.variants, values, strict=True):
        gaps = {
            "selection_rate": Gap("male", "female", Interval(marked, marked - 0.01, marked + 0.01)),
            "approval_ratio": Gap("female", "male", Interval(ratio, ratio - 0.01, ratio + 0.01)),
        }
        found.append(msgspec.structs.replace(variant, by={"sex": Characteristic((), gaps)}))
    return changed(read, variants=tuple(found))


@pytest.mark.parametrize(
    ("before", "after", "words_of_change"),
    [
        ((0.05, 0.95), (0.08, 0.90), ["**grows**", "**grows**"]),
        ((0.08, 0.90), (0.05, 0.95), ["shrinks", "shrinks"]),
        ((0.08, 0.90), (0.08, 0.90), ["stays", "stays"]),
    ],
)
def test_a_gap_that_grows_is_told_as_plainly_as_one_that_shrinks(before, after, words_of_change, read):
    training = with_gaps(read, before, after)

    rows = tables.gaps(training)

    assert [row[-1] for row in rows] == words_of_change
    assert rows[0][2:5] == (
        "male, female",
        words.percents(Interval(before[0], before[0] - 0.01, before[0] + 0.01), ""),
        words.percents(Interval(after[0], after[0] - 0.01, after[0] + 0.01), ""),
    )


def test_groups_that_are_too_small_are_compared_in_words(read, drivers):
    variants = tuple(
        msgspec.structs.replace(one, by={by: Characteristic(found.groups, {}) for by, found in one.by.items()})
        for one in read.metrics.variants
    )

    text = render(changed(read, variants=variants), drivers)

    assert "No two groups have at least 50 defaulters" in text
    assert "Largest differences" not in text


def test_impurity_is_left_out_where_a_model_has_none(read, drivers):
    boosted = msgspec.structs.replace(drivers, impurity={})
    tables = render(read, drivers), render(read, boosted)
    pictures = [figures.importances(one) for one in (drivers, boosted)]

    assert ["| impurity removed |" in text for text in tables] == [True, False]
    assert ["Impurity, training" in picture for picture in pictures] == [True, False]


def test_directions_are_told_where_they_were_asked_for(read, drivers, markdown):
    pipeline = copy.deepcopy(read.pipeline)
    uncalibrated(pipeline).monotonic_cst = [0] * len(read.metrics.features)

    text = render(dataclasses.replace(read, pipeline=pipeline), drivers)

    assert "every candidate was held to that" in text
    assert "held to that" not in markdown


def test_protected_characteristics_are_named_where_the_model_decides_by_them(read, drivers, markdown):
    features = tuple(msgspec.structs.replace(one, protected=False) for one in read.card.features)

    text = render(dataclasses.replace(read, card=msgspec.structs.replace(read.card, features=features)), drivers)

    assert "This model decides by age, sex, marital status." in markdown
    assert "This model doesn't decide by age, sex or marital status." in text


def test_products_of_two_trainings_are_refused(trained, tmp_path, capsys):
    for path in trained.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    pd.read_csv(tmp_path / "predictions.csv").iloc[::-1].to_csv(tmp_path / "predictions.csv", index=False)

    with pytest.raises(SystemExit) as stop:
        command.main([str(tmp_path)])

    assert stop.value.code == 2
    assert "not of one training" in capsys.readouterr().err


def test_folder_without_products_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main([str(tmp_path)])

    assert stop.value.code == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_report_keeps_clear_of_pyplot():
    code = "import sys, train.__main__; assert 'matplotlib.pyplot' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_markup_in_a_text_stays_text():
    page = to_html(
        "# a < b\n\n## c\n\n**d** `e<f>` <script>g</script>\n\n" + words.table(("i|j", "k"), [("l", "1")]), {}
    )

    assert "<strong>d</strong> <code>e&lt;f&gt;</code> &lt;script&gt;" in page
    assert "<title>a &lt; b</title>" in page
    assert '<th style="text-align:left">i|j</th>' in page and '<td style="text-align:right">1</td>' in page


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.interval(Interval(0.777, 0.762, 0.791)), "0.777 [0.762, 0.791]"),
        (words.interval(Interval(0.01, -0.002, 0.03), 4, "+"), "+0.0100 [-0.0020, +0.0300]"),
        (words.percents(Interval(0.5, 0.25, 0.75)), "50.0 % [25.0, 75.0]"),
        (words.percents(None), "none"),
    ],
)
def test_intervals_are_written_one_way(written, expected):
    assert written == expected


def test_importance_is_large_where_the_target_hangs_on_a_feature_and_none_where_it_does_not(pipeline, clients):
    X, y = clients

    found = permutation_importances(pipeline, X, y.to_numpy(), {"pay_0": ["pay_0"], "pay_amt_3": ["pay_amt_3"]})

    assert found["pay_0"].low > 0.03
    assert abs(found["pay_amt_3"].value) < 0.01
    assert all(one.low < one.value < one.high for one in found.values())


def test_partial_dependence_is_the_mean_score_of_changed_clients(pipeline, rows):
    curve = dependence(pipeline, rows, "pay_0", rows=len(rows))

    assert curve.index.tolist() == sorted(rows["pay_0"].unique())
    expected = [pipeline.predict_proba(rows.assign(pay_0=value))[:, 1].mean() for value in curve.index]
    np.testing.assert_allclose(curve["mean"], expected)
    scores = pipeline.predict_proba(rows.assign(pay_0=curve.index[0]))[:, 1]
    assert (curve["low"].iloc[0], curve["high"].iloc[0]) == pytest.approx(tuple(np.quantile(scores, [0.1, 0.9])))
