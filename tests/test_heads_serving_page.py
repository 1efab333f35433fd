"""The page of ``heads-serve``: what a person sees of a server, in a headless Chromium.

Refusals and delays are put between page and server, so that all else is what a server says.
"""

from __future__ import annotations

import base64
import email.parser
import email.policy
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from browser import CHROMIUM
from support import ROOT, image_bytes

from heads.modules.late import pool

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {"index.html": "text/html; charset=utf-8", "app.js": "text/javascript", "style.css": "text/css"}
CLASSES = ["Bags", "Shoes", "Topwear", "Watches"]
ABOUT = {
    "label": "subCategory",
    "classes": CLASSES,
    "heads": {
        "early": ["image", "metadata", "text"],
        "image": ["image"],
        "late": ["image", "text"],
        "metadata": ["metadata"],
        "text": ["text"],
    },
    "head": "early",
    "modalities": ["image", "metadata", "text"],
    "metadata_columns": [
        {"name": "gender", "kind": "categorical", "categories": ["", "Boys", "Girls", "Men", "Women"]},
        {"name": "price", "kind": "number", "categories": []},
    ],
    "text_columns": ["productDisplayName"],
    "late_weights": {"image": 0.35, "text": 0.65},
    "n_products": 6,
    "similar_by": ["fused", "image", "text"],
    "limits": {"body_bytes": 2**24, "characters": 10_000},
}
PROBABILITIES = {"image": [0.07, 0.81, 0.1, 0.02], "text": [0.05, 0.15, 0.78, 0.02], "metadata": [0.3, 0.2, 0.4, 0.1]}


class StubServer(ThreadingHTTPServer):
    """Answers as ``heads-serve`` does, of tables: a picture says shoes, a text says topwear."""

    daemon_threads = True
    about = ABOUT
    token = ""
    products: ClassVar = [(f"{n:03}", f"Product number {n}", CLASSES[n % 4], f"p{n}.png") for n in range(6)]

    def handle_error(self, *_: object) -> None:
        """Say nothing of a page that left before its answer."""

    def picture(self, name: str) -> bytes:
        return image_bytes(hashlib.sha256(name.encode()).hexdigest()[:6].join(["#", ""]), size=(32, 32))

    def probabilities(self, modality: str) -> list[float]:
        return PROBABILITIES[modality]


def predict(server: StubServer, fields: dict[str, object]) -> dict[str, object]:
    """Return the answer to a product, as the server's contract has it."""
    image, text = fields.get("image"), fields.get("text")
    if image is not None and not image.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        raise ValueError("Expected a picture, got one that is no picture of a format that is read. Send a JPEG or PNG.")
    cells = {column["name"] for column in server.about["metadata_columns"]} & fields.keys()
    found = {"image": image is not None, "metadata": bool(cells), "text": bool(text)}
    statuses = {name: "ok" if is_given else "absent" for name, is_given in found.items()}
    given = [name for name, status in statuses.items() if status == "ok"]
    probabilities = {name: server.probabilities(name) for name in given}

    def of(names: list[str]) -> list[dict[str, object]]:
        means = [sum(column) / len(names) for column in zip(*(probabilities[name] for name in names), strict=True)]
        pairs = sorted(zip(means, server.about["classes"], strict=True), reverse=True)
        return [{"answer": answer, "probability": probability} for probability, answer in pairs]

    top = of(given) if given else []
    alone = {name: of([name])[0] if name in given else None for name in ABOUT["modalities"]}
    votes = {one["answer"] for name, one in alone.items() if one and name != "metadata"}
    rest = {name: [other for other in given if other != name] for name in ABOUT["modalities"]}
    explain = {
        "classes": server.about["classes"],
        "probabilities": probabilities,
        "late_weights": server.about["late_weights"],
        "late_temperatures": {"image": 0.8, "text": 0.9},
        "late_temperature": 1.2,
        "without": {name: of(others)[0] if others else None for name, others in rest.items()},
    }
    late = max(late_by_hand(explain, explain["late_weights"]).items(), key=lambda pair: pair[1])
    return {
        "answer": top[0]["answer"] if top else None,
        "probability": top[0]["probability"] if top else None,
        "top": top[: int(str(fields["top"]))],
        "heads": {**alone, "early": top[0] if top else None, "late": {"answer": late[0], "probability": late[1]}},
        "disagree": len(votes) > 1,
        "statuses": statuses,
        "explain": explain,
    }


class Handler(BaseHTTPRequestHandler):
    """The routes of the contract."""

    server: StubServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's own name
        pass

    def reply(self, content: object, *, status: int = 200, kind: str = "application/json") -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", len(body)), ("Content-Security-Policy", POLICY)):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def may(self) -> bool:
        if not self.server.token or self.headers.get("Authorization") == f"Bearer {self.server.token}":
            return True
        self.reply({"error": "Expected a token, got none or another."}, status=401)
        return False

    def do_GET(self) -> None:
        name = self.path.strip("/") or "index.html"
        if name in TYPES:
            self.reply((ROOT / "heads" / "serving" / "page" / name).read_bytes(), kind=TYPES[name])
        elif self.may():
            self.reply(
                self.server.about if name == "about" else self.server.picture(name),
                kind="application/json" if name == "about" else "image/png",
            )

    def do_POST(self) -> None:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.may():
            return
        parts = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + content).iter_parts()
        fields = {}
        for part in parts:
            value = part.get_payload(decode=True)
            fields[part.get_param("name", header="content-disposition")] = (
                value if part.get_filename() else value.decode()
            )
        try:
            answer = predict(self.server, {"top": "1", **fields})
            self.reply(answer if self.path == "/predict" else {"products": self.similar(fields)})
        except ValueError as error:
            self.reply({"error": str(error)}, status=422)

    def similar(self, fields: dict[str, object]) -> list[dict[str, object]]:
        products = self.server.products[: int(str(fields["n"]))]
        if fields["by"] == "text":
            products = products[::-1]
        return [
            {
                "id": name,
                "similarity": 0.97 - 0.03 * n,
                "title": title,
                "label": label,
                "picture": picture and f"/{picture}",
            }
            for n, (name, title, label, picture) in enumerate(products)
        ]


@pytest.fixture(scope="module")
def server() -> Iterator[SimpleNamespace]:
    """A server of the contract: its ``url``."""
    with StubServer(("127.0.0.1", 0), Handler) as stub:
        thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{stub.server_port}/")
        stub.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: the page is not opened")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(server, browser):
    """What opens the page; at the end nothing may have come from elsewhere, and nothing have been complained of."""
    pages, complaints, fetched = [], [], []

    def open_page(*, width: int = 1200, dark: bool = False, before=None):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
        pages.append(page)
        page.set_default_timeout(20_000)
        page.on("request", lambda request: fetched.append(request.url))
        page.on("console", lambda message: complaints.append(f"{message.text} {message.location['url']}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if before:
            before(page)
        page.goto(server.url)
        return page

    yield open_page
    for page in pages:
        page.unroute_all(behavior="ignoreErrors")
        page.close()
    refused = re.compile(r"Failed to load resource: .*(status of (401|422|500|503)|ERR_FAILED|404.*/products/)")
    assert not [text for text in complaints if not refused.search(text)]
    assert not [url for url in fetched if not url.startswith((server.url, f"blob:{server.url}", "data:"))]


def give(page, how, content=None, name="shoe.png"):
    """Let a file be dropped on the page or pasted into it."""
    content = base64.b64encode(image_bytes() if content is None else content).decode()
    page.evaluate(
        """([how, content, name]) => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], name, { type: "image/png" }));
            const values = { clipboardData: data, dataTransfer: data, bubbles: true, cancelable: true };
            document.body.dispatchEvent(how === "paste" ? new ClipboardEvent(how, values) : new DragEvent(how, values));
        }""",
        [how, content, name],
    )


def answered(page, act):
    """Do something, and return what the server says to it once the page shows that."""
    with page.expect_response("**/predict") as response, page.expect_response("**/similar"):
        act()
    page.wait_for_selector("#answer[aria-busy=false] #result")
    return response.value.json()


def late_by_hand(explain, weights):
    """Return what the house's late fusion makes of the answer's probabilities, {class: probability}."""
    names = sorted(weights)
    given = explain["probabilities"]
    rows = [given.get(name, [float("nan")] * len(explain["classes"])) for name in names]
    temperatures = explain.get("late_temperatures") or {}
    logs = pool(
        torch.tensor([rows], dtype=torch.float64).log(),
        torch.tensor([[name in given for name in names]]),
        torch.tensor([weights[name] for name in names], dtype=torch.float64),
        torch.tensor([temperatures.get(name, 1.0) for name in names], dtype=torch.float64),
        torch.tensor(explain.get("late_temperature") or 1.0, dtype=torch.float64),
    )
    return dict(zip(explain["classes"], logs.exp()[0].tolist(), strict=True))


def assert_late(page, explain, weights):
    expected = late_by_hand(explain, weights)
    best = max(expected, key=expected.__getitem__)
    assert page.locator("#late-best").inner_text() == best
    assert float(page.locator("#late-probability").get_attribute("value")) == pytest.approx(expected[best], abs=1e-6)
    assert page.locator("#late-probability").inner_text() == f"{100 * expected[best]:.1f} %"


def test_a_dropped_picture_and_a_title_are_answered_with_what_each_says_and_with_similar_products(opened):
    page = opened()
    said = answered(page, lambda: give(page, "drop"))
    assert page.locator("#best").inner_text() == said["answer"]
    assert page.evaluate("document.querySelector('#preview').naturalWidth") == 8
    assert page.locator("#modalities li").last.inner_text().split("\n") == ["text", "no text given"]
    said = answered(page, lambda: page.get_by_label("Title").fill("a striped shirt"))
    said = answered(page, lambda: page.get_by_label("gender").select_option("Men"))
    assert said["statuses"] == {"image": "ok", "metadata": "ok", "text": "ok"}
    assert page.locator("#best").inner_text() == said["answer"]
    assert page.locator("#top li").count() == 4
    assert (
        page.locator("#spoken[aria-live=polite]")
        .inner_text()
        .startswith(f"{said['answer']}, {100 * said['probability']:.1f} %.")
    )
    alone = [row.split("\n") for row in page.locator("#modalities li").all_inner_texts()]
    assert [row[:2] for row in alone] == [
        [name, said["heads"][name]["answer"]] for name in ("image", "metadata", "text")
    ]
    without = said["explain"]["without"]["image"]
    assert without["answer"] in alone[0][-1]
    assert f"{100 * without['probability']:.1f} %" in alone[0][-1]
    assert said["disagree"] == page.locator("#disagree").is_visible()
    page.evaluate("Promise.allSettled([...document.querySelectorAll('#products img')].map((image) => image.decode()))")
    assert page.evaluate("document.querySelector('#products img').naturalWidth") > 0
    assert page.locator("#products img").count() >= 5
    with page.expect_response("**/similar") as response:
        page.locator("#by").get_by_text("text").click()
    titles = [product["title"] for product in response.value.json()["products"]]
    page.wait_for_selector(f"#products li:first-child .title:text-is('{titles[0]}')")
    assert page.locator("#products .title").all_inner_texts() == titles


def test_a_slider_changes_the_late_answer_as_the_house_s_late_fusion_would(opened):
    page = opened()
    answered(page, lambda: give(page, "drop"))
    said = answered(page, lambda: page.get_by_label("Title").fill("a striped shirt"))
    trained = said["explain"]["late_weights"]
    assert_late(page, said["explain"], trained)
    late = said["heads"]["late"]
    assert page.locator("#late-best").inner_text() == late["answer"]
    assert float(page.locator("#late-probability").get_attribute("value")) == pytest.approx(
        late["probability"], abs=1e-5
    )
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    slider = page.get_by_role("slider", name="image")
    for weight in (80, 0, 100):
        slider.fill(str(weight))
        assert_late(page, said["explain"], {"image": weight / 100, "text": 1 - weight / 100})
    slider.press("ArrowLeft")
    assert_late(page, said["explain"], {"image": 0.99, "text": 0.01})
    shares = page.locator("#sliders div:not(.missing) output").all_inner_texts()
    assert shares == ["99.0 %", "1.0 %"]
    page.get_by_role("button", name="Reset").click()
    assert_late(page, said["explain"], trained)
    assert not sent
    said = answered(page, lambda: page.get_by_label("Title").fill(""))  # what is not given does not count
    assert_late(page, said["explain"], trained)


@pytest.mark.parametrize(
    "changes",
    [
        {"late_temperatures": {"image": 1.7, "metadata": 1.0, "text": 0.6}, "late_temperature": 1.3},
        {"late_temperature": 0.8, "absent": "text"},
        {"late_temperatures": None, "zero": "image"},
    ],
)
def test_the_page_averages_as_the_house_does_where_temperatures_were_fitted_or_weights_are_0(opened, changes):
    explain = {"classes": CLASSES, "probabilities": {**PROBABILITIES}, **changes}
    explain["probabilities"].pop(changes.get("absent"), None)
    weights = {"image": 0.2, "text": 0.5, "metadata": 0.3}
    if "zero" in changes:
        explain["probabilities"] = {"image": PROBABILITIES["image"], "metadata": PROBABILITIES["metadata"]}
        weights = {"image": 0, "text": 1, "metadata": 0}
    averaged = opened().evaluate("([explain, weights]) => pool(explain, weights)", [explain, weights])
    assert averaged == pytest.approx(list(late_by_hand(explain, weights).values()), abs=1e-9)


def test_a_pasted_picture_is_taken_and_can_be_removed(opened):
    page = opened()
    answered(page, lambda: give(page, "paste"))
    assert page.locator("#picture-hint").inner_text() == "shoe.png, 1 kB"
    page.get_by_role("button", name="Remove the picture").click()
    page.wait_for_selector("#nothing")
    assert page.locator("#result").is_hidden()
    assert page.locator("#preview").get_attribute("src") is None


def test_a_file_that_is_no_picture_is_refused_in_the_server_s_words_until_it_is_removed(opened):
    page = opened()
    answered(page, lambda: page.get_by_label("Title").fill("a striped shirt"))
    give(page, "drop", b"%PDF-1.7", "notes.pdf")
    page.wait_for_selector("#trouble:has-text('Expected a picture, got one that is no picture')")
    assert page.locator("#trouble button").count() == 0  # it would be refused again
    assert page.locator("#preview").is_hidden()
    answered(page, lambda: page.get_by_role("button", name="Remove the picture").click())
    assert page.locator("#trouble").is_hidden()


def test_a_picture_that_is_not_used_is_said_in_words_where_the_server_answers_without_it(opened):
    page = opened()
    said = answered(page, lambda: page.get_by_label("Title").fill("a striped shirt"))
    said["statuses"]["image"] = "truncated"
    page.route("**/predict", lambda route: route.fulfill(json=said))
    answered(page, lambda: give(page, "drop"))
    assert page.locator("#picture-status").inner_text() == "Not used: the picture ends early or is damaged."
    assert page.locator("#modalities li").first.inner_text().endswith("the picture ends early or is damaged")


def test_a_request_that_is_overtaken_is_ended_and_never_shown(opened):
    page = opened()
    page.wait_for_selector("#cells select", state="attached")
    failed = []
    page.on("requestfailed", lambda request: failed.append(request.failure))
    page.route("**/predict", lambda _: None, times=1)  # never answered
    with page.expect_request("**/predict"):
        page.get_by_label("Title").fill("a")
    said = answered(page, lambda: page.get_by_label("Title").fill("a striped shirt"))
    assert failed == ["net::ERR_ABORTED"]
    assert page.locator("#best").inner_text() == said["answer"]


def test_a_busy_server_is_said_and_asked_again(opened):
    page = opened()
    page.wait_for_selector("#cells select", state="attached")
    refusal = {"status": 503, "headers": {"Retry-After": "1"}, "json": {"error": "The queue is full."}}
    page.route("**/predict", lambda route: route.fulfill(**refusal), times=1)
    page.get_by_label("Title").fill("a striped shirt")
    assert page.get_by_role("alert").first.inner_text().startswith("The queue is full. Another try in 1 s.")
    page.wait_for_selector("#best:not(:empty)")  # by itself
    assert page.locator("#trouble").is_hidden()
    page.wait_for_selector("#products li")


def test_what_a_server_refuses_is_said_and_can_be_tried_again(opened):
    page = opened()
    page.wait_for_selector("#cells select", state="attached")
    gone, failed = {"error": "The cache is gone."}, {"error": "Something failed."}
    page.route("**/similar", lambda route: route.fulfill(status=500, json=gone), times=1)
    page.route("**/predict", lambda route: route.abort(), times=1)
    page.route("**/predict", lambda route: route.fulfill(status=500, json=failed), times=1)  # the last one comes first
    give(page, "drop")
    for words in (failed["error"], "The server does not answer. Is heads-serve still running?"):
        page.wait_for_selector(f"#trouble:has-text('{words}')")
        page.locator("#trouble").get_by_role("button", name="Try again").click()
    page.wait_for_selector(f"#similar-trouble:has-text('{gone['error']}')")
    assert page.locator("#trouble").is_hidden()
    page.locator("#similar-trouble").get_by_role("button", name="Try again").click()
    page.wait_for_selector("#products li")


def test_a_token_is_asked_for_and_sent_with_everything(opened):
    def guard(page):
        def check(route):
            if route.request.headers.get("authorization") == "Bearer s3cret":
                route.continue_()
            else:
                route.fulfill(status=401, json={"error": "Expected a token."})

        page.route(lambda url: not url.endswith(("/", ".js", ".css")), check)

    page = opened(before=guard)
    page.get_by_label("This server asks for a token").fill("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#token-hint.bad")
    page.get_by_label("This server asks for a token").fill("s3cret")
    page.get_by_role("button", name="Continue").click()
    answered(page, lambda: page.get_by_label("Title").fill("a striped shirt"))
    page.wait_for_selector("#products img[src^='blob:']")  # they are fetched with it, too


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_nothing_is_wider_than_the_screen_whatever_names_are_like(opened, width, dark):
    page = opened(width=width, dark=dark)

    def lengthen(route):
        text = route.fetch().text()
        for name in (*CLASSES, "Product"):
            text = text.replace(name, name + "W" * 120)
        route.fulfill(body=text, content_type="application/json")

    page.wait_for_selector("#cells select", state="attached")
    page.route("**/predict", lengthen)
    page.route("**/similar", lengthen)
    answered(page, lambda: give(page, "drop"))
    answered(page, lambda: page.get_by_label("Title").fill("x" * 400))
    page.locator("summary").click()
    page.get_by_role("slider", name="image").fill("60")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ground = "rgb(15, 19, 24)" if dark else "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == ground


def test_the_keyboard_reaches_everything_in_order_and_shows_where_it_is(opened):
    page = opened()
    answered(page, lambda: give(page, "drop"))
    answered(page, lambda: page.get_by_label("Title").fill("a striped shirt"))
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")  # the start of the page
    order = []
    cells, sliders = (
        page.locator(f"{place} :is(select, input)").evaluate_all("fields => fields.map((field) => field.id)")
        for place in ("#cells", "#sliders")
    )
    for _ in range(7 + len(cells) + len(sliders)):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.value || document.activeElement.innerText"
            )
        )
        if page.evaluate("document.activeElement.matches('a, button, textarea, select, summary')"):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"
    assert order == [
        "Skip to the answer",
        "picture",
        "remove",
        "text",
        *cells,
        "anew",
        *sliders,
        "All heads of the run",
        "fused",
    ]
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="image").is_checked()
