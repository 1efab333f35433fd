"""The page of ``heads-serve``: what a person sees of a server, in a headless Chromium.

Refusals and delays are put between page and server, so that all else is what a server says.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest
import torch
from browser import new_page
from served import started
from support import image_bytes, write_review_page

from heads.data.corrections import read_corrections
from heads.modules.late import pool

pytestmark = pytest.mark.slow

CLASSES = ["blue shirt", "blue shoes", "red shirt", "red shoes"]
PROBABILITIES = {"image": [0.07, 0.81, 0.1, 0.02], "text": [0.05, 0.15, 0.78, 0.02], "metadata": [0.3, 0.2, 0.4, 0.1]}


@pytest.fixture(scope="module")
def server(served_run, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A server in a process of its own: its ``url``."""
    folder = tmp_path_factory.mktemp("server")
    with started(served_run, folder, "--review", write_review_page(folder)) as server:
        yield SimpleNamespace(url=f"{server.url}/", labels_path=folder / "r-labels.csv")


@pytest.fixture(scope="module")
def tab():
    """The one page of these tests: each other would be a process more; what is put into it goes with it."""
    page = new_page()
    yield page
    page.close()


@pytest.fixture
def opened(server, tab):
    """What opens the page; at the end nothing may have come from elsewhere, and nothing have been complained of."""
    complaints, fetched = [], []
    listeners = {
        "request": lambda request: fetched.append(request.url),
        "console": lambda message: complaints.append(f"{message.text} {message.location['url']}"),
        "pageerror": lambda error: complaints.append(str(error)),
    }
    for event, note in listeners.items():
        tab.on(event, note)

    def open_page(*, width: int = 1200, dark: bool = False, before=None):
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(color_scheme="dark" if dark else "light")
        tab.set_default_timeout(20_000)
        if before:
            before(tab)
        tab.goto(server.url)
        return tab

    yield open_page
    for event, note in listeners.items():
        tab.remove_listener(event, note)
    tab.unroute_all(behavior="ignoreErrors")
    tab.evaluate("sessionStorage.clear()")
    tab.goto("about:blank")
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
    answer = answered(page, lambda: give(page, "drop"))
    assert page.locator("#best").inner_text() == answer["answer"]
    assert page.evaluate("document.querySelector('#preview').naturalWidth") == 8
    assert page.locator("#modalities li").last.inner_text().split("\n") == ["text", "no text given"]
    answer = answered(page, lambda: page.get_by_label("Title").fill("a striped shirt"))
    answer = answered(page, lambda: page.get_by_label("gender").select_option("Men"))
    assert answer["statuses"] == {"image": "ok", "metadata": "ok", "text": "ok"}
    assert page.locator("#best").inner_text() == answer["answer"]
    assert page.locator("#top li").count() == 4
    assert (
        page.locator("#spoken[aria-live=polite]")
        .inner_text()
        .startswith(f"{answer['answer']}, {100 * answer['probability']:.1f} %.")
    )
    alone = [row.split("\n") for row in page.locator("#modalities li").all_inner_texts()]
    assert [row[:2] for row in alone] == [
        [name, answer["heads"][name]["answer"]] for name in ("image", "metadata", "text")
    ]
    without = answer["explain"]["without"]["image"]
    assert without["answer"] in alone[0][-1]
    assert f"{100 * without['probability']:.1f} %" in alone[0][-1]
    assert answer["disagree"] == page.locator("#disagree").is_visible()
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
    answer = answered(page, lambda: page.get_by_label("Title").fill("a striped shirt"))
    trained = answer["explain"]["late_weights"]
    assert_late(page, answer["explain"], trained)
    late = answer["heads"]["late"]
    assert page.locator("#late-best").inner_text() == late["answer"]
    assert float(page.locator("#late-probability").get_attribute("value")) == pytest.approx(
        late["probability"], abs=1e-5
    )
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    slider = page.get_by_role("slider", name="image")

    def moved(weight):
        """The others keep their proportions."""
        others = {name: trained[name] for name in trained if name != "image"}
        return {"image": weight, **{name: (1 - weight) * one / sum(others.values()) for name, one in others.items()}}

    for weight in (80, 0, 100):
        slider.fill(str(weight))
        assert_late(page, answer["explain"], moved(weight / 100))
    slider.press("ArrowLeft")
    assert_late(page, answer["explain"], moved(0.99))
    shares = page.locator("#sliders div:not(.missing) output").all_inner_texts()
    given = {name: weight for name, weight in moved(0.99).items() if name in answer["explain"]["probabilities"]}
    assert shares == [f"{100 * weight / sum(given.values()):.1f} %" for weight in given.values()]
    page.get_by_role("button", name="Reset").click()
    assert_late(page, answer["explain"], trained)
    assert not sent
    answer = answered(page, lambda: page.get_by_label("Title").fill(""))  # what is not given does not count
    assert_late(page, answer["explain"], trained)


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
    averaged = opened().evaluate("async (given) => (await import('/late.js')).pool(...given)", [explain, weights])
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
    answer = answered(page, lambda: page.get_by_label("Title").fill("a striped shirt"))
    answer["statuses"]["image"] = "truncated"
    page.route("**/predict", lambda route: route.fulfill(json=answer))
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
    answer = answered(page, lambda: page.get_by_label("Title").fill("a striped shirt"))
    assert failed == ["net::ERR_ABORTED"]
    assert page.locator("#best").inner_text() == answer["answer"]


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


def test_a_proxy_may_give_the_pages_a_prefix(opened, server):
    page, asked = opened(), []

    def without_prefix(route):
        asked.append(route.request.url)
        route.fulfill(response=route.fetch(url=route.request.url.replace("/shop/", "/")))

    page.route(f"{server.url}**", without_prefix)
    page.goto(f"{server.url}shop/")
    answered(page, lambda: page.get_by_label("Title").fill("a striped shirt"))
    picture = page.locator("#products img").first
    assert picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") > 0
    page.goto(f"{server.url}shop/review")
    page.wait_for_selector("#saving:has-text('Saved in r-labels.csv.')")
    assert not [url for url in asked if not url.startswith(f"{server.url}shop/")]


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_nothing_is_wider_than_the_screen_whatever_names_are_like(opened, width, dark):
    page = opened(width=width, dark=dark)

    def lengthen(route):
        text = route.fetch().text()
        for name in (*CLASSES, "cotton"):
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


def test_answers_of_a_review_are_saved_as_they_are_given_and_none_is_lost(opened, server):
    """While the server takes none they stay in the browser; another tab's are there, too; one goes on where one was."""
    page = opened()
    page.goto(f"{server.url}review")
    page.wait_for_selector("#saving:has-text('Saved in r-labels.csv.')")
    page.keyboard.press("1")
    page.keyboard.press("2")
    page.keyboard.press("u")
    page.wait_for_selector("#saving:has-text('Saved in')")
    assert dict(read_corrections(server.labels_path).labels) == {"x3": 'a "cup", <large>', "0": "a"}
    refusal = {"status": 503, "json": {"error": "Expected room for r-labels.csv."}}
    page.route("**/answers", lambda route: route.fulfill(**refusal) if refusal else route.continue_())
    page.keyboard.press("2")
    page.wait_for_selector("#saving.bad:has-text('Not saved. Expected room for r-labels.csv. 1 answer is kept')")
    page.reload()
    refusal.clear()
    httpx.post(f"{server.url}review/answers", json={"answers": [["2", "new"]]}, timeout=30).raise_for_status()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # back from the other tab
    page.wait_for_selector("#progress:has-text('3 of 8 labelled')")  # which counts what is still to be saved, too
    page.wait_for_selector("#saving:has-text('Saved in r-labels.csv.')")
    labels = {"x3": 'a "cup", <large>', "0": "a", "1": "b", "2": "new"}
    assert dict(read_corrections(server.labels_path).labels) == labels
    page.evaluate("localStorage.clear()")
    page.reload()
    page.wait_for_selector("#progress:has-text('3 of 8 labelled')")
    assert page.locator("#title").inner_text() == "thing 3"


def test_a_server_that_says_nothing_is_not_waited_for_by_all_later_answers(opened, server):
    page = opened()
    page.clock.install()
    page.goto(f"{server.url}review")
    page.wait_for_selector("#saving:has-text('Saved in r-labels.csv.')")
    unanswered = []
    page.route("**/answers", lambda route: unanswered.append(route) if not unanswered else route.continue_())
    page.keyboard.press("1")
    page.wait_for_selector("#saving:has-text('Saving')")
    page.clock.fast_forward(10_000)
    page.wait_for_selector("#saving.bad:has-text('Not saved. The server does not answer. 1 answer is kept')")
    page.clock.fast_forward(5_000)
    page.wait_for_selector("#saving:has-text('Saved in r-labels.csv.')")
    assert len(unanswered) == 1
