import base64
import copy
import csv
import hashlib
import json
import re
import shutil
import subprocess
from array import array
from contextlib import contextmanager
from html.parser import HTMLParser
from itertools import product
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import msgspec
import numpy as np
import pytest

import gateway
import linear_models
from lambda_fn.card import Code
from lambda_fn.features import Matrix, Rule, example_row
from lambda_fn.service import Service
from lambda_fn.settings import read_settings
from lambda_fn.web.api import Api
from lambda_fn.web.page import render
from peers import node_modules

HOSTILE = "</script><script>alert(1)</script><!--<b> \"quoted\" 'quoted' & @@CARD@@ @@TITLE@@ $& \u2028 ünï 信用 🙂"
HOSTILE += " " + "long" * 30
BROWSER = {
    "executable_path": shutil.which("chromium"),
    "args": [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ],
}


class Parsed(HTMLParser):
    """What a browser would make of a page: its elements with their texts, and every attribute."""

    def __init__(self, body):
        super().__init__()
        self.elements, self.attributes = [], []
        self.feed(body.decode())

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        self.attributes += attributes

    def handle_endtag(self, tag):
        self.elements.append([f"/{tag}", {}, ""])  # what follows is not in the element

    def handle_data(self, text):
        if self.elements:
            self.elements[-1][2] += text

    def texts(self, tag):
        return [text for name, _, text in self.elements if name == tag]

    def card(self):
        (text,) = (text for _, attributes, text in self.elements if attributes.get("id") == "card")
        return json.loads(text)


def with_odd_content(card):
    """Put what means something to HTML, scripts, shells and pointers in every text of a card, names included."""
    names = iter(["</script>", "__proto__", "a b", "a/b~c", "it's £", "$(id)", "constructor", "7"])
    features = tuple(
        msgspec.structs.replace(
            feature,
            name=next(names, feature.name),
            title=f"{HOSTILE} {column}",
            description=HOSTILE,
            reason=HOSTILE,
            unit=HOSTILE if column % 2 else "",
            codes=tuple(Code(code.value, HOSTILE) for code in feature.codes),
        )
        for column, feature in enumerate(card.features)
    )
    families = tuple(msgspec.structs.replace(family, title=HOSTILE, reason=HOSTILE) for family in card.families)
    return msgspec.structs.replace(card, name="odd & <b>", description=HOSTILE, features=features, families=families)


def test_page_holds_the_cards_facts(model):
    card = Parsed(render(model.card).body).card()

    assert card["version"] == model.card.version
    assert card["decision"]["threshold"] == model.card.decision.threshold
    assert [feature["name"] for feature in card["features"]] == [feature.name for feature in model.card.features]
    assert card["reference"] == list(model.card.reference.profile)


def test_page_refers_to_nothing_outside_itself(model):
    page = Parsed(render(model.card).body)

    addresses = [value for name, value in page.attributes if name in ("src", "href", "action", "srcset")]
    assert [address for address in addresses if not address.startswith("data:")] == [
        "card.json",
        "openapi.json",
    ]
    assert not re.search(r"url\(|@import", page.texts("style")[0])


def test_policy_allows_this_pages_script_and_style_and_no_other(model):
    body, policy = render(model.card)

    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    _, script = Parsed(body).texts("script")
    (style,) = Parsed(body).texts("style")
    for rule, content in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert (rules["default-src"], rules["connect-src"], rules["form-action"]) == ("'none'", "'self'", "'none'")


def test_odd_content_stays_text(model):
    card = with_odd_content(model.card)

    page = Parsed(render(card).body)

    assert len(page.texts("script")) == 2
    assert [HOSTILE] == page.texts("title") == [text.strip() for text in page.texts("h1")]
    assert page.card()["features"][0]["description"] == HOSTILE
    assert page.card()["sample"].keys() == {feature.name for feature in card.features}


def test_page_is_served_under_its_policy(client, model):
    response = client.send("GET", "/")

    assert response["headers"]["content-security-policy"] == render(model.card).policy
    assert response["body"].encode() == render(model.card).body


def test_page_of_every_task_shows_what_its_clients_would_send(any_model):
    card = Parsed(render(any_model.card).body).card()

    rules = {feature.name: Rule(feature) for feature in any_model.card.features}
    assert card["sample"] == example_row(any_model.card)
    for name, value in card["sample"].items():
        rules[name].read(value)
    assert card["reference"] == [1000.0, 2, 1, "Graz", None, False]


# --- in a browser --------------------------------------------------------------------------------------------------


def post(url, text):
    request = Request(f"{url}/predict", text.encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(request) as response:
            return json.load(response)
    except HTTPError as error:
        with error:
            return json.load(error)


@pytest.fixture(scope="module")
def browser():
    if BROWSER["executable_path"] is None:
        pytest.skip("no chromium on PATH")
    sync_api = pytest.importorskip("playwright.sync_api", reason="tests/requirements-e2e.txt is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(**BROWSER)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url(api):
    with gateway.serve(api.handle) as url:
        yield url


@pytest.fixture(scope="module")
def any_url(any_api):
    with gateway.serve(any_api.handle) as url:
        yield url


@pytest.fixture(scope="module")
def loans_url(loans_api):
    with gateway.serve(loans_api.handle) as url:
        yield url


@contextmanager
def opened(browser, url, **options):
    """Open the page; whatever it complains of, and whatever host it asks but its own, fails the test."""
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    page = context.new_page()
    complaints, hosts = [], set()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url)[:2]))
    page.goto(f"{url}/")
    page.wait_for_selector("#result:not([hidden])")
    yield page
    context.close()
    # Chromium itself reports each answer that is a refusal.
    assert [text for text in complaints if "responded with a status of" not in text] == []
    assert hosts - {("data", "")} == {urlsplit(url)[:2]}


def shown(page):
    return float(page.locator("data").first.get_attribute("value"))


def score(page):
    with page.expect_response("**/predict"):
        page.get_by_role("button", name="Score", exact=True).click()
    page.wait_for_selector("#score:not([aria-busy])")


@pytest.mark.e2e
def test_sample_is_filled_in_and_scored(browser, url, model):
    with opened(browser, url) as page:
        (prediction,) = post(url, json.dumps({"instances": [example_row(model.card)]}))["predictions"]

        assert shown(page) == prediction["probability"]
        assert page.locator("#percent").text_content() == f"{100 * prediction['probability']:.1f} %"
        assert (
            page.locator("#verdict").inner_text() == model.card.target.classes[prediction["label"]].meaning.capitalize()
        )


@pytest.mark.e2e
def test_every_feature_has_a_field_with_its_meaning_and_range(browser, url, model):
    with opened(browser, url) as page:
        for feature in model.card.features:
            field = page.locator(f'[name="{feature.name}"]')
            described = " ".join(
                page.locator(f"#{i}").inner_text() for i in field.get_attribute("aria-describedby").split()
            )
            family = next(family.title for family in model.card.families if family.name == feature.family)
            legend = page.locator("fieldset").filter(has=field).locator("legend").inner_text()

            assert legend == family + ("protected" if feature.protected else "")
            if feature.codes:
                expected = [f"{code.value}: {code.meaning}" for code in feature.codes]
                assert field.locator("option").all_inner_texts() == expected
            else:
                low, high = f"{feature.minimum:,.0f}", f"{feature.maximum:,.0f}"
                assert f"Allowed: {low} to {high}".replace("-", "−") in described
            assert feature.description in described or feature.description == feature.title


@pytest.mark.e2e
def test_keyboard_alone_fills_and_scores(browser, url):
    with opened(browser, url) as page:
        before = shown(page)
        page.get_by_role("link", name="Its model card").focus()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == "pay_0"
        page.keyboard.type("-1")
        while page.evaluate("document.activeElement.name") != "limit_balance":
            page.keyboard.press("Tab")
        page.keyboard.type("480000")
        with page.expect_response("**/predict") as response:
            page.keyboard.press("Enter")

        (prediction,) = response.value.json()["predictions"]
        page.wait_for_function("before => +document.querySelector('data').value !== before", arg=before)
        row = json.loads(response.value.request.post_data)["instances"][0]
        assert (row["pay_0"], row["limit_balance"]) == (-1, 480_000)
        assert shown(page) == prediction["probability"]


@pytest.mark.e2e
def test_decision_is_explained(browser, url, model):
    with opened(browser, url) as page:
        told = page.locator("#because").inner_text()

        assert f"which reaches the threshold of {100 * model.card.decision.threshold:.1f} %" in told
        assert model.card.decision.method in told


@pytest.mark.e2e
def test_factors_lead_from_the_reference_to_the_score(browser, url, model, rows):
    """Those that raise it, as the API gives them, and those that lower it."""
    some = Matrix(array("d", rows[:50].to_numpy(float).ravel()), 50)
    contributions = np.reshape(model.score(some, explain=True).contributions.data, (50, -1))
    mixed = int(np.argmax(np.minimum(contributions.max(axis=1), -contributions.min(axis=1))))
    with opened(browser, url) as page:
        page.evaluate("row => fill(row)", rows.iloc[mixed].to_dict())
        score(page)
        answer = post(url, page.locator("#request").text_content())
        (prediction,) = answer["predictions"]
        rows = page.locator("#reasons > li")
        points = [float(text.replace("−", "-").rstrip(" %")) for text in page.locator(".points").all_inner_texts()]

        reasons = prediction["reasons"]
        for row, reason in zip(rows.all()[1:], reasons, strict=False):
            assert reason["reason"] in row.inner_text()
            assert ("protected" in row.inner_text()) is reason.get("protected", False)
        assert points[0] == round(100 * model.card.reference_scores[0], 1)
        assert points[1 : 1 + len(reasons)] == [round(100 * reason["contribution"], 1) for reason in reasons]
        assert min(points[1:-1]) < 0 < max(points[1:-1])
        assert sum(points[:-1]) == pytest.approx(points[-1], abs=0.05 * len(points))


@pytest.mark.e2e
@pytest.mark.parametrize("value", ["17", "35.5", "many", "", "1e999", "0x20"])
def test_wrong_value_is_shown_at_its_field_and_nowhere_else(browser, url, value):
    with opened(browser, url) as page:
        age = page.get_by_label("Age")
        age.fill(value)
        age.press("Enter")
        page.wait_for_selector("#alert:not([hidden])")

        (error,) = post(url, page.locator("#request").text_content())["errors"]
        fault = page.locator(".fault:visible")
        assert fault.inner_text().lower() == error["detail"].lower()
        assert fault.get_attribute("id") in age.get_attribute("aria-describedby").split()
        assert age.get_attribute("aria-invalid") == "true"
        assert page.evaluate("document.activeElement.name") == "age"
        assert not page.locator("#result").is_visible()

        age.fill("35")
        score(page)
        assert page.locator("#result").is_visible()
        assert page.locator(".fault:visible, [aria-invalid]").count() == 0


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("170,000", 170_000),
        ("1,700,000.5", 1_700_000.5),
        ("−8,713", -8_713),
        ("\u22125", -5),
        ("+7", 7),
        ("1e3", 1_000),
        (".5", 0.5),
        ("17,00", "17,00"),
        ("1,5", "1,5"),
        ("−", "−"),
    ],
)
def test_numbers_are_read_as_the_page_writes_them(browser, url, typed, sent):
    with opened(browser, url) as page:
        page.locator('[name="bill_amt_1"]').fill(typed)

        assert json.loads(page.locator("#request").text_content())["instances"][0]["bill_amt_1"] == sent


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0.0"), (1, "100.0"), (0.25, "25.0"), (0.00034, "0.034"), (0.99966, "99.966"), (0.01, "1.0")],
)
def test_percentages_have_sensible_digits(browser, url, share, shown):
    with opened(browser, url) as page:
        assert page.evaluate("share => percent(share)", share) == shown


@pytest.mark.e2e
def test_changed_form_marks_the_shown_score_as_old(browser, url):
    with opened(browser, url) as page:
        assert not page.locator("#stale").is_visible()

        page.get_by_label("Age").fill("50")
        assert page.locator("#stale").is_visible()

        score(page)
        assert not page.locator("#stale").is_visible()


@pytest.mark.e2e
def test_value_outside_the_training_range_is_marked(browser, url):
    with opened(browser, url) as page:
        page.get_by_label("Age").fill("119")
        score(page)

        assert page.locator(".outside:visible").inner_text().startswith("Outside the training range")
        beside_the_score = page.locator("#result #outside").inner_text()
        assert "Less sure" in beside_the_score and "Age (119 years, trained on " in beside_the_score


@pytest.mark.e2e
def test_unreachable_api_and_refusing_gateway_are_told(browser, url):
    with opened(browser, url) as page:
        page.route("**/predict", lambda route: route.fulfill(status=503, json={"message": "Service Unavailable"}))
        score(page)
        page.get_by_text("Service Unavailable.", exact=True).wait_for()

        page.unroute("**/predict")
        page.route("**/predict", lambda route: route.fulfill(status=502, body="<html>"))
        score(page)
        page.get_by_text("The API gave no readable answer: Its status is 502.", exact=True).wait_for()
        page.unroute("**/predict")


@pytest.mark.e2e
def test_curl_line_and_request_score_as_the_page_does(browser, url):
    with opened(browser, url, permissions=["clipboard-read", "clipboard-write"]) as page:
        copies = {}
        for name in ("request", "curl line"):
            page.get_by_role("button", name=f"Copy the {name}").click()
            page.get_by_role("button", name=f"Copied the {name}").wait_for()
            copies[name] = page.evaluate("navigator.clipboard.readText()")

        ran = subprocess.run(["bash", "-c", copies["curl line"]], capture_output=True, text=True, check=True)
        answers = [json.loads(ran.stdout), post(url, copies["request"])]
        assert [answer["predictions"][0]["probability"] for answer in answers] == [shown(page)] * 2


@pytest.mark.e2e
@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_its_window_in_light_and_dark(browser, url, width, scheme):
    with opened(browser, url, viewport={"width": width, "height": 740}, color_scheme=scheme) as page:
        page.get_by_label("Age").fill("x" * 200)
        score(page)
        page.wait_for_selector("#alert:not([hidden])")
        assert page.evaluate("document.documentElement.scrollWidth") <= width

        page.get_by_role("button", name="Fill in the sample").click()
        page.wait_for_selector("#result:not([hidden])")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 384) is (scheme == "dark")


@pytest.mark.e2e
def test_focused_field_is_not_hidden_by_the_buttons(browser, url):
    with opened(browser, url, viewport={"width": 360, "height": 740}) as page:
        while page.evaluate("document.activeElement.tagName") != "BUTTON":
            page.keyboard.press("Tab")
            hidden = page.evaluate("""() => {
                const field = document.activeElement.getBoundingClientRect();
                const bar = document.querySelector(".actions").getBoundingClientRect();
                return document.activeElement.closest("fieldset") !== null && field.bottom > bar.top;
            }""")
            assert not hidden


@pytest.mark.e2e
def test_every_kind_of_feature_has_its_control(browser, any_url, any_model):
    with opened(browser, any_url) as page:
        assert page.get_by_label("Owner").get_attribute("type") == "checkbox"
        assert page.get_by_label("City").locator("option").all_inner_texts() == ["Graz", "Linz", 'a "quoted" one']
        assert page.get_by_label("Grade").locator("option").all_inner_texts() == ["1: good", "2: fair", "4: bad"]
        assert page.get_by_label("Job").get_attribute("placeholder") == "missing"

        page.get_by_label("Income").fill("")
        page.get_by_label("Job").fill("clown")
        page.get_by_label("City").select_option('a "quoted" one')
        page.get_by_label("Owner").check()
        score(page)

        (row,) = json.loads(page.locator("#request").text_content())["instances"]
        assert (row["income"], row["job"], row["city"], row["owner"]) == (None, "clown", 'a "quoted" one', True)
        (prediction,) = post(any_url, page.locator("#request").text_content())["predictions"]
        assert "Job (clown)" in page.locator("#outside").inner_text()
        assert page.locator("#reasons > li").count() > 2
        if any_model.card.task == "multiclass":
            assert shown(page) == prediction["probabilities"][prediction["label"]]
            assert page.locator("#shares li").count() == 3
        else:
            assert shown(page) == next(iter(prediction.values()))


@pytest.mark.e2e
def test_model_card_is_linked(browser, url, model):
    with opened(browser, url) as page:
        href = page.get_by_role("link", name="Its model card").evaluate("link => link.href")

        with urlopen(href) as answer:
            assert json.load(answer)["version"] == model.card.version == page.locator("#version").inner_text()


def drop(page, name, text):
    """Drop a file onto the page, as a hand would."""
    data = page.evaluate_handle(
        """([name, text]) => {
            const data = new DataTransfer();
            data.items.add(new File([text], name, { type: "text/csv" }));
            return data;
        }""",
        [name, text],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})


def saved(page):
    page.wait_for_selector("#save:not([hidden])")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the scores").click()
    return list(csv.DictReader(download.value.path().read_text(encoding="utf-8").splitlines()))


@pytest.mark.e2e
@pytest.mark.parametrize("comma", [",", ";", "\t"])
def test_table_is_scored_and_saved(browser, url, rows, comma):
    table = rows[:450].assign(ID=[f"r{n}" for n in range(450)], note='a "quoted", one')
    table.loc[table.index[[3, 444]], "age"] = 17

    with opened(browser, url) as page:
        drop(page, "clients.csv", "\ufeff" + table.to_csv(index=False, sep=comma))
        outcomes = saved(page)
        told = page.locator("#told").inner_text()

        expected = post(url, json.dumps({"instances": rows[:450].to_dict("records")}))["predictions"]
        assert [one["ID"] for one in outcomes] == table["ID"].tolist()
        for place, (one, prediction) in enumerate(zip(outcomes, expected, strict=True)):
            if place in (3, 444):
                assert (one["probability"], one["problem"]) == ("", "age must be a whole number from 18 to 120")
            else:
                assert float(one["probability"]) == prediction["probability"]
                assert (int(one["label"]), one["problem"]) == (prediction["label"], "")
        assert "448 of 450 rows of clients.csv are scored." in told and "Not used: note." in told
        assert "Row 4: age must be" in page.locator("#wrong-rows").inner_text()


@pytest.mark.e2e
def test_table_of_any_model_is_scored(browser, any_url, any_model):
    text = 'income,rooms,grade,city,job,owner\n,3,4,"a ""quoted"" one",,true\n1e3,3,2,Graz,clown,false\n'

    with opened(browser, any_url) as page:
        drop(page, "table.csv", text)
        outcomes = saved(page)

        assert [one["problem"] for one in outcomes] == ["", ""]
        assert [one["out_of_range"] for one in outcomes] == ["", "job"]
        scores = {"binary": "probability", "multiclass": "probability of dog", "regression": "value"}
        assert all(float(one[scores[any_model.card.task]]) for one in outcomes)


@pytest.mark.e2e
def test_exported_model_is_scored_by_form(browser, loans_url, loans):
    """Two of the models take any text and gap, the one of three classes does not."""
    is_strict = loans.model.card.task == "multiclass"
    with opened(browser, loans_url) as page:
        purpose, telephone = page.get_by_label("purpose", exact=True), page.get_by_label("telephone", exact=True)
        savings = page.get_by_label("savings", exact=True)
        assert "Allowed: any whole number" in page.locator("#hint-1").inner_text()
        if is_strict:
            known = ["business", "car (new)", "car (used)", "furniture", "radio/TV"]
            assert purpose.locator("option").all_inner_texts() == known
            assert savings.locator("option").all_inner_texts()[0] == "missing"
            savings.select_option("missing")
            telephone.check()
        else:
            assert "Known: business, car (new), " in page.locator("#hint-3").inner_text()
            assert telephone.locator("option").all_inner_texts() == ["missing", "yes", "no"]
            purpose.fill("sailing boat")
            savings.fill("")
            telephone.select_option("missing")
        page.get_by_label("months", exact=True).fill("70")
        score(page)

        (row,) = json.loads(page.locator("#request").text_content())["instances"]
        assert (row["months"], row["savings"], row["telephone"]) == (70, None, True if is_strict else None)
        assert is_strict or "purpose (sailing boat)" in page.locator("#outside").inner_text()
        (prediction,) = post(loans_url, page.locator("#request").text_content())["predictions"]
        reasons = page.locator("#reasons > li").all_inner_texts()
        assert prediction["reasons"]
        for reason, line in zip(prediction["reasons"], reasons[1:], strict=False):
            assert line.startswith(reason["reason"])
        if is_strict:
            assert shown(page) == prediction["probabilities"][str(prediction["label"])]
            assert page.locator("#verdict").inner_text() == str(prediction["label"])
        else:
            assert shown(page) == next(iter(prediction.values()))


@pytest.mark.e2e
def test_exported_model_scores_a_table_of_texts_and_empty_fields(browser, loans_url, loans):
    table = loans.rows[:40].assign(purpose=lambda rows: rows["purpose"].where(rows.index != 7, "sailing boat"))
    assert table["savings"].isna().any() and table["age"].isna().any()

    with opened(browser, loans_url) as page:
        drop(page, "loans.csv", table.to_csv(index=False))
        outcomes = saved(page)

    wrong = [row for row, one in enumerate(outcomes) if one["problem"]]
    assert wrong == ([7] if loans.model.card.task == "multiclass" else [])
    scored = table.drop(index=wrong)
    outcomes = [one for one in outcomes if not one["problem"]]
    if loans.model.card.task == "regression":
        assert [float(one["value"]) for one in outcomes] == pytest.approx(loans.fitted.predict(scored).tolist())
    else:
        assert [one["label"] for one in outcomes] == [str(label) for label in loans.fitted.predict(scored)]


@pytest.fixture
def blanks_url(tmp_path):
    """A page of a model whose columns have blanks around their names, as published tables do."""
    features = tuple(msgspec.structs.replace(one, name=f" {one.name} ") for one in linear_models.FEATURES)
    (tmp_path / "model.onnx").write_bytes(linear_models.linear_model("binary", features))
    api = Api(Service.open(read_settings({"MODEL_PATH": str(tmp_path / "model.onnx")})))
    with gateway.serve(api.handle) as url:
        yield url


@pytest.mark.e2e
def test_names_with_blanks_are_found_in_a_table(browser, blanks_url):
    row = linear_models.ROW | {"job": ""}
    text = ",".join(f" {name} " for name in row) + "\n" + ",".join(map(str, row.values())) + "\n"

    with opened(browser, blanks_url) as page:
        drop(page, "table.csv", text)
        (outcome,) = saved(page)

    assert not outcome["problem"] and 0 <= float(outcome["probability"]) <= 1


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "table.csv holds no rows."),
        ("age\n", "table.csv holds no rows."),
        ("agé,x\n1,2\n", "table.csv lacks the columns age, "),
    ],
)
def test_table_that_can_not_be_scored_is_told(browser, url, text, message):
    with opened(browser, url) as page:
        drop(page, "table.csv", text)
        page.wait_for_selector("#told.wrong")

        assert page.locator("#told").inner_text().startswith(message)


@pytest.mark.e2e
def test_print_shows_the_score_and_what_it_is_of_and_no_buttons(browser, url):
    with opened(browser, url, color_scheme="dark") as page:
        page.emulate_media(media="print")

        assert page.locator("#result").is_visible() and page.locator("#why").is_visible()
        assert page.get_by_label("Age").is_visible()
        assert page.locator("button:visible").count() == 0
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def assert_axe_finds_nothing(browser, url):
    axe = (node_modules("axe-core@4.14.1") / "axe-core/axe.min.js").read_text()
    for scheme, width in product(["light", "dark"], [1366, 390]):
        # The page's own policy would not let the checker's script in.
        options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme, "bypass_csp": True}
        with opened(browser, url, **options) as page:
            for prepare in (lambda: None, lambda: page.locator("input").first.fill("x"), lambda: score(page)):
                prepare()
                page.wait_for_timeout(400)  # for the gauge to come to rest
                page.evaluate(axe)
                violations = page.evaluate("axe.run().then(found => found.violations)")
                assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in violations] == []


@pytest.mark.e2e
def test_axe_finds_nothing(browser, url):
    assert_axe_finds_nothing(browser, url)


@pytest.mark.e2e
def test_axe_finds_nothing_for_any_task(browser, any_url):
    assert_axe_finds_nothing(browser, any_url)


@pytest.mark.e2e
def test_axe_finds_nothing_in_texts_and_gaps(browser, loans_url):
    assert_axe_finds_nothing(browser, loans_url)


@pytest.mark.e2e
def test_page_of_an_odd_card_scores_and_runs_nothing(browser, model, service):
    model = copy.copy(model)
    model.card = with_odd_content(model.card)
    api = Api(Service(model, read_settings({}), service.log))

    with gateway.serve(api.handle) as url, opened(browser, url) as page:
        page.on("dialog", lambda dialog: pytest.fail("the card's text ran as a script"))
        assert page.locator("h1").text_content() == HOSTILE
        assert page.locator("fieldset b").count() == 0

        answer = post(url, page.locator("#request").text_content())
        ran = subprocess.run(
            ["bash", "-c", page.locator("#curl").text_content()], capture_output=True, text=True, check=True
        )
        assert answer["predictions"][0]["probability"] == shown(page)
        assert json.loads(ran.stdout) == answer
        assert page.locator("#reasons .value").first.inner_text()
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360

        for column in range(8):
            page.locator(f"#field-{column}").evaluate("field => { field.value = 'wrong'; }")
        score(page)
        page.wait_for_selector("#alert:not([hidden])")
        assert page.locator("input[aria-invalid]").count() == 8
