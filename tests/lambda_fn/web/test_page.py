import base64
import hashlib
import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from html.parser import HTMLParser
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import msgspec
import pytest

import gateway
from lambda_fn.metadata import METADATA_KEY, Code, Feature
from lambda_fn.page import render
from lambda_fn.sample import sample_row
from lambda_fn.schema import Schema

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


def feature(**properties):
    return Feature(
        **{
            "name": "x",
            "title": "X",
            "description": "",
            "kind": "number",
            "family": "f",
            "reason": "",
            "minimum": 0.0,
            "maximum": 1.0,
            "training_minimum": 0.0,
            "training_maximum": 1.0,
        }
        | properties
    )


def card_of(card, one, reference):
    return msgspec.structs.replace(
        card, features=(one,), reference=msgspec.structs.replace(card.reference, profile=(reference,))
    )


def test_page_holds_the_cards_facts(model):
    card = Parsed(render(model.card).body).card()

    assert card["version"] == model.card.version
    assert card["threshold"]["value"] == model.card.threshold.value
    assert [feature["name"] for feature in card["features"]] == [feature.name for feature in model.card.features]
    assert card["reference"] == list(model.card.reference.profile)


def test_page_refers_to_nothing_outside_itself(model):
    page = Parsed(render(model.card).body)

    addresses = [value for name, value in page.attributes if name in ("src", "href", "action", "srcset")]
    assert [address for address in addresses if not address.startswith("data:")] == ["openapi.json"]
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


def test_page_is_served_under_its_policy(load_handler, model, context):
    event = {
        "version": "2.0",
        "rawPath": "/",
        "headers": {},
        "requestContext": {"http": {"method": "GET"}, "stage": "$default"},
    }

    response = load_handler("http_api").handler(event, context)

    assert response["headers"]["content-security-policy"] == render(model.card).policy
    assert response["body"].encode() == render(model.card).body


@pytest.mark.parametrize(
    ("one", "reference", "expected"),
    [
        (feature(), 0.2, 0.4),
        (feature(maximum=0.3), 0.2, 0.3),
        (feature(training_minimum=-1e9, minimum=-1e9, maximum=-5e8, training_maximum=-6e8), -8e8, -7.5e8),
        (feature(minimum=0.01234, maximum=0.01235, training_maximum=0.01235), 0.01234, 0.01234),
        (feature(kind="integer", minimum=0.5, maximum=9.0, training_maximum=0.6), 0.5, 1),
        (feature(kind="integer", minimum=1001.0, maximum=1003.0, training_maximum=1003.0), 1001.0, 1001),
        (feature(kind="integer", maximum=3e38, training_maximum=3e38), 0.0, 7.5e37),
        (feature(kind="code", codes=(Code(-3, "a"), Code(40, "b")), training_maximum=40.0), -3.0, -3),
    ],
)
def test_sample_row_is_legal(model, one, reference, expected):
    card = card_of(model.card, one, reference)

    sample = sample_row(card)

    assert sample == {"x": pytest.approx(expected)}
    assert Schema(card).rules[0].holds(sample["x"])
    assert render(card).body


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
def url(load_handler):
    with gateway.serve(load_handler("http_api").handler) as url:
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
    return float(page.locator("#probability").inner_text())


def score(page):
    with page.expect_response("**/predict"):
        page.get_by_role("button", name="Score", exact=True).click()
    page.wait_for_selector("#score:not([aria-busy])")


@pytest.mark.e2e
def test_sample_is_filled_in_and_scored(browser, url, model):
    with opened(browser, url) as page:
        (prediction,) = post(url, json.dumps({"instances": [sample_row(model.card)]}))["predictions"]

        assert shown(page) == prediction["probability"]
        assert page.locator("#percent").text_content() == f"{100 * prediction['probability']:.1f} %"
        assert page.locator("#verdict").inner_text() == model.card.target.labels[prediction["label"]].capitalize()


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
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == "pay_0"
        page.keyboard.type("-1")
        while page.evaluate("document.activeElement.name") != "limit_balance":
            page.keyboard.press("Tab")
        page.keyboard.type("480000")
        with page.expect_response("**/predict") as response:
            page.keyboard.press("Enter")

        (prediction,) = response.value.json()["predictions"]
        page.wait_for_function("before => +document.querySelector('#probability').textContent !== before", arg=before)
        row = json.loads(response.value.request.post_data)["instances"][0]
        assert (row["pay_0"], row["limit_balance"]) == (-1, 480_000)
        assert shown(page) == prediction["probability"]


@pytest.mark.e2e
def test_reasons_lead_from_the_reference_to_the_score(browser, url, model):
    with opened(browser, url) as page:
        answer = post(url, json.dumps({"instances": [sample_row(model.card)], "explain": True}))
        (prediction,) = answer["predictions"]
        rows = page.locator("#reasons > li")
        points = [float(text.replace("−", "-").rstrip(" %")) for text in page.locator(".points").all_inner_texts()]

        reasons = prediction["reasons"]
        assert rows.count() == len(reasons) + 3
        for row, reason in zip(rows.all()[1:], reasons, strict=False):
            assert reason["reason"] in row.inner_text()
            assert ("protected" in row.inner_text()) is reason.get("protected", False)
        assert points[0] == round(100 * model.card.reference_probability, 1)
        assert points[1 : 1 + len(reasons)] == [round(100 * reason["contribution"], 1) for reason in reasons]
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
def test_page_of_an_odd_card_scores_and_runs_nothing(browser, model, model_path, tmp_path, load_handler):
    onnx = pytest.importorskip("onnx")
    card = with_odd_content(model.card)
    proto = onnx.load(model_path)
    (entry,) = (entry for entry in proto.metadata_props if entry.key == METADATA_KEY)
    entry.value = msgspec.json.encode(card).decode()
    onnx.save(proto, tmp_path / "odd.onnx")
    handler = load_handler("http_api", MODEL_PATH=str(tmp_path / "odd.onnx")).handler

    with gateway.serve(handler) as url, opened(browser, url) as page:
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
