"""The live page in Chromium, on a real `logllm serve`."""

import json
from pathlib import Path

import pytest
import soak_page
from browser import Browser, Page, browser, chromium
from serving import Serving, nginx_command

from tests.serve.page_store import Written

pytestmark = pytest.mark.real

AXE = Path(__file__).parent / "axe" / "axe.min.js"
TOKEN = "a-token-that-is-long-enough"  # noqa: S105 - of a server that lives for seconds
ROWS = "#verdict-list > li"
SCRIPT = (
    "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\"> ERROR"
    " disk 7 failed"
)


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    if chromium() is None:
        pytest.skip(
            "needs Chromium: none of chromium, chromium-browser and google-chrome is installed"
        )
    with browser(tmp_path_factory.mktemp("chrome")) as opened:
        yield opened


@pytest.fixture
def written(tmp_path):
    store = Written(tmp_path / "app.db")
    yield store
    store.close()


@pytest.fixture
def serving(tmp_path, written):
    server = Serving(tmp_path / "app.db").start()
    yield server
    server.stop()


def opened(chrome: Browser, address: str, **more) -> Page:
    """The page, when it is live."""
    page = chrome.open(address, **more)
    soak_page.live(page)
    return page


def names(page: Page) -> list[str]:
    """Sessions of the list, in order."""
    return page.run(
        "[...document.querySelectorAll('#verdict-list .name')].map((name) => name.textContent)"
    )


def test_verdicts_come_by_themselves_and_one_is_opened(chrome, serving, written) -> None:
    page = opened(chrome, serving.address)
    assert "logllm watch" in page.text("#verdicts-empty")
    written.add(written.normal("calm"), written.anomalous("bad", SCRIPT))
    page.until(f"document.querySelectorAll('{ROWS}').length === 1")
    assert names(page) == ["bad"]

    page.click(f"{ROWS} a")
    page.until("document.querySelector('#session h2')?.textContent === 'bad'")
    told = page.text("#session")
    for words in (
        "anomalous",
        "score .9800",
        "logllm .9000",
        "words .9900",
        "closed <file>",
        "more like this",
    ):
        assert words in told
    assert page.run("document.querySelector('#session .marked mark').textContent") == SCRIPT
    assert page.count("#session img, #session script, #verdicts img, #verdicts script") == 0
    assert "run" not in page.run("document.title")
    assert page.count("#session .log > li") < 15
    page.click("#session .fold")
    page.until("document.querySelectorAll('#session .log > li').length > 8")

    # The address leads to the same session, and the back button from it.
    link = page.run("location.href")
    page.run("history.back()")
    page.until("document.querySelector('#session').hidden")
    again = opened(chrome, link)
    again.until("document.querySelector('#session h2')?.textContent === 'bad'")
    assert (page.errors, again.errors) == ([], [])


def test_filters_live_in_the_address(chrome, serving, written) -> None:
    written.add(
        *(written.normal(f"calm-{number}") for number in range(5)), written.anomalous("bad-1")
    )
    page = opened(chrome, serving.address)
    assert names(page) == ["bad-1"]
    page.run("document.querySelector('input[name=show][value=all]').click()")
    page.until(f"document.querySelectorAll('{ROWS}').length === 6")
    page.press("/")
    page.type("calm-3")
    page.until(f"document.querySelectorAll('{ROWS}').length === 1")
    assert "show=all" in page.run("location.search")
    assert "q=calm-3" in page.run("location.search")
    # What comes live is filtered as well.
    written.add(written.normal("calm-30"), written.normal("calm-40"))
    page.until(f"document.querySelectorAll('{ROWS}').length === 2")
    assert names(page) == ["calm-30", "calm-3"]
    assert names(opened(chrome, page.run("location.href"))) in (["calm-30", "calm-3"], ["calm-3"])
    page.press("Escape")
    page.until(f"document.querySelectorAll('{ROWS}').length === 8")
    page.run("history.back()")
    page.until(f"document.querySelectorAll('{ROWS}').length === 1")
    assert page.run("location.search") in ("", "?")
    assert page.errors == []


def test_keys_lead_through_the_rows(chrome, serving, written) -> None:
    written.add(*(written.anomalous(f"bad-{number}") for number in range(3)))
    page = opened(chrome, serving.address)
    shown = names(page)
    focus = "document.activeElement.querySelector?.('.name')?.textContent"
    for key, name in (("j", 0), ("j", 1), ("j", 2), ("j", 2), ("k", 1)):
        page.press(key)
        assert page.run(focus) == shown[name]
    page.press("Enter")
    page.until(f"document.querySelector('#session h2')?.textContent === '{shown[1]}'")
    page.press("j")
    page.until(f"document.querySelector('#session h2')?.textContent === '{shown[2]}'")
    page.press("Escape")
    page.until("document.querySelector('#session').hidden")
    assert page.run(focus) == shown[2]
    page.press("?")
    page.until("document.querySelector('#help').open")
    page.press("Escape")
    page.until("!document.querySelector('#help').open")
    assert page.errors == []


def test_the_list_waits_while_someone_reads_it(chrome, serving, written) -> None:
    written.add(*(written.normal(f"old-{number}") for number in range(60)))
    page = opened(chrome, f"{serving.address}?show=all")
    page.run("document.querySelector('#verdict-scroll').scrollTop = 400")
    top = names(page)[0]
    written.add(*(written.normal(f"new-{number}") for number in range(7)))
    page.until("document.querySelector('#fresh').textContent === '7 new'")
    assert names(page)[0] == top
    page.click("#fresh")
    page.until(f"document.querySelectorAll('{ROWS}').length === 67")
    assert names(page)[0].startswith("new-")
    assert page.count("#fresh:not([hidden])") == 0
    assert page.errors == []


def test_alarms_are_answered_for_and_muted(chrome, serving, written) -> None:
    written.add(written.anomalous("bad"))
    page = opened(chrome, serving.address)
    page.until("document.querySelector('#sentence').textContent === '1 open incident'")
    assert "ERROR disk <*> failed" in page.text("#incident-list h3")
    assert page.run("document.title") == "(1) logllm"

    # One line is picked as guilty, and the alarm called a true one.
    page.click(f"{ROWS} a")
    page.click("#session .log > li:first-child .at")
    page.until(
        "/^Line 1 picked/.test(document.querySelector('#session .answer"
        " [role=status]').textContent)"
    )
    page.click("#session .answer button:first-child")
    page.until("/a true alarm/.test(document.querySelector('#session .answer').textContent)")
    assert page.count("#session .log .marked") == 2
    page.until(f"/true alarm/.test(document.querySelector('{ROWS} .tags').textContent)")
    page.click("#session .answer button")
    page.until("document.querySelectorAll('#session .answer button').length === 2")

    # Then a false one, which mutes its kind.
    page.click("#session .answer button:nth-child(2)")
    page.until("/a false alarm/.test(document.querySelector('#session .answer').textContent)")
    page.until(
        "document.querySelector('#sentence').textContent === 'All quiet, 1 muted incident'",
        seconds=20,
    )
    page.click("#incident-list .acts button")
    page.until("document.querySelector('#sentence').textContent === '1 open incident'")
    page.click("#incident-list .menu summary")
    page.click("#incident-list .menu button:nth-child(2)")
    page.until("/muted until/.test(document.querySelector('#incident-list').textContent)")
    page.click("#tabs [data-tab=alerts]")
    page.until("/by page/.test(document.querySelector('#alerts').textContent)")
    page.click("#tabs [data-tab=now]")
    page.click("#incident-list h3 a")
    page.until("!document.querySelector('#incident-open').hidden")
    assert "incident=1" in page.run("location.search")
    assert names(page) == ["bad"]
    assert page.errors == []


def test_a_range_of_the_timeline_is_a_filter(chrome, serving, written) -> None:
    written.add(written.anomalous("bad"))
    page = opened(chrome, serving.address)
    page.until("document.querySelector('#readout').textContent.startsWith('1 session')")
    x, y, width = page.run(
        "(() => { const b = document.querySelector('.u-over').getBoundingClientRect(); return [b.x,"
        " b.y + 30, b.width]; })()"
    )
    page.mouse("mouseMoved", x=x + 20, y=y)
    page.mouse("mousePressed", x=x + 20, y=y)
    page.mouse("mouseMoved", x=x + width / 2, y=y)
    page.mouse("mouseReleased", x=x + width / 2, y=y)
    page.until(f"document.querySelectorAll('{ROWS}').length === 0")
    assert "since=" in page.run("location.search")
    assert page.count(".chip") == 1
    page.click(".chip button")
    page.until(f"document.querySelectorAll('{ROWS}').length === 1")
    assert page.errors == []


def test_a_token_is_asked_for_once(chrome, tmp_path, written) -> None:
    written.add(written.anomalous("bad"))
    server = Serving(tmp_path / "app.db", token=TOKEN).start()
    try:
        page = chrome.open(server.address)
        page.until("document.querySelector('#token').open")
        assert names(page) == []
        page.type("a-wrong-token-of-that-length")
        page.press("Enter")
        page.until(
            "document.querySelector('#token').open &&"
            " /refused/.test(document.querySelector('#token').innerText)"
        )
        page.type(TOKEN)
        page.press("Enter")
        page.until("document.querySelector('#connection').dataset.state === 'live'")
        assert names(page) == ["bad"]
        assert TOKEN not in page.run(
            "location.href + document.cookie + JSON.stringify(localStorage)"
        )
        page.call("Page.reload")
        page.until("document.querySelector('#connection')?.dataset.state === 'live'")
        assert page.errors == []
    finally:
        server.stop()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_serious_fault_of_access(chrome, serving, written, width, dark) -> None:
    written.add(
        written.normal("calm"), *(written.anomalous(f"bad-{number}") for number in range(3))
    )
    page = opened(chrome, serving.address, width=width, height=844, dark=dark)
    views = {"now": "", "all": "?show=all", "search": "?q=nothing-is-like-this"}
    views |= {tab: f"?tab={tab}" for tab in ("kinds", "sources", "alerts", "runs")}
    page.click(f"{ROWS} a")
    page.until("document.querySelector('#session h2') !== null")
    views["session"] = page.run("location.search")
    faults = {}
    for view, search in views.items():
        shown = opened(chrome, serving.address + search, width=width, height=844, dark=dark)
        shown.run(AXE.read_text() + "; 0")
        shown.until("document.body.dataset.view")
        serious = (
            "(result) => result.violations.filter((one) => ['serious',"
            " 'critical'].includes(one.impact))"
        )
        told = (
            "(one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => node.html +"
            " node.failureSummary).join()}`"
        )
        faults[view] = shown.run(f"axe.run().then({serious}).then((found) => found.map({told}))")
        assert shown.run("document.documentElement.scrollWidth <= innerWidth"), view
        assert shown.errors == [], view
        shown.call("Page.close")
    assert faults == {view: [] for view in views}


@pytest.mark.skipif(nginx_command() is None, reason="needs nginx: it is not installed")
def test_five_thousand_in_ten_seconds_and_a_server_that_is_killed(chrome, tmp_path) -> None:
    """Through nginx, which answers 502 meanwhile."""
    assert chrome
    figures = soak_page.burst_alone(tmp_path)
    assert figures["most_rows"] <= 500
    others = {name: figures[name] for name in ("verdicts", "doubled", "not_the_newest", "errors")}
    assert others == {"verdicts": 5000, "doubled": 0, "not_the_newest": 0, "errors": 0}


def test_the_server_that_is_back_is_found_by_itself(chrome, serving, written) -> None:
    page = opened(chrome, serving.address)
    serving.kill()
    page.until("document.querySelector('#connection').dataset.state === 'lost'")
    written.add(written.anomalous("meanwhile"))
    serving.start()
    page.until("document.querySelector('#connection').dataset.state === 'live'", seconds=40)
    page.until(f"document.querySelectorAll('{ROWS}').length === 1")
    assert json.dumps(names(page)) == '["meanwhile"]'
    assert page.errors == []
