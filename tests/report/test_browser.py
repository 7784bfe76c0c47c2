"""Reports in a browser: no errors, all figures, correct numbers, nothing wider than the page."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from norsim import report

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
# A4 less its margins is 182 mm wide.
PAPER = 688
WIDTHS, SCHEMES = (1280, 360), ("light", "dark")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Yield one chromium for all pages. Without it the tests fail, because pages must be tested in a browser."""
    places = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    absent = [name for name, place in places.items() if place is None]
    if absent:
        pytest.fail(f"{' and '.join(absent)} not found: reports are tested in a browser; `sh tools/install-system.sh "
                    "browser` installs the packages chromium and chromium-driver")  # fmt: skip
    options = webdriver.ChromeOptions()
    options.binary_location = str(places["chromium"])
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=str(places["chromedriver"])))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def pages(
    spice_run: Path,
    cifar_run: Path,
    macro_run: Path,
    stressed_run: Path,
    ideal_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Path, list[Path]]]:
    """Return reports by name, each with its runs."""
    place = tmp_path_factory.mktemp("pages")
    runs = {"several": [macro_run, ideal_run, spice_run], "cifar": [cifar_run], "attributed": [macro_run],
            "two": [stressed_run, macro_run]}  # fmt: skip
    return {name: (report.write(about, place / name), about) for name, about in runs.items()}


def look(browser: webdriver.Chrome, page: Path, width: int, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


def requests(browser: webdriver.Chrome) -> set[str]:
    """Return the addresses that pages asked for since the last call, without data in a page itself."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    found = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    return {address for address in found if not address.startswith(("data:", "chrome:"))}


def shown_layers(browser: webdriver.Chrome) -> list[str]:
    return [part.get_attribute("id") or "" for part in browser.find_elements(By.TAG_NAME, "article")
            if part.is_displayed()]  # fmt: skip


@pytest.mark.parametrize("name", ["several", "cifar", "attributed", "two"])
@pytest.mark.slow
def test_a_page_is_complete_at_any_width_in_light_and_dark(
    browser: webdriver.Chrome, pages: dict[str, tuple[Path, list[Path]]], name: str
) -> None:
    page, _ = pages[name]
    drawn = {path.stem for path in page.parent.glob("figures/*.svg")}
    backgrounds, inks = set(), set()
    for width in WIDTHS:
        for scheme in SCHEMES:
            look(browser, page, width, scheme)
            where = f"{name}, {width} px, {scheme}"
            assert browser.get_log("browser") == [], where
            across, room = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
            assert across <= room == width, where
            figures = browser.find_elements(By.CSS_SELECTOR, "figure")
            assert {figure.get_attribute("data-figure") for figure in figures} == drawn
            for figure in (one for one in figures if one.is_displayed()):  # Not those of a layer that is not picked.
                size = figure.find_element(By.CSS_SELECTOR, "svg").rect
                assert size["width"] > 200 and size["height"] > 50, f"{where}: {figure.get_attribute('data-figure')}"
            assert requests(browser) <= {page.as_uri()}, where
            broken = "return [...document.images].filter(image => !image.naturalWidth).length"
            assert browser.execute_script(broken) == 0, where
            colour = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
            backgrounds.add(browser.execute_script(colour, "section", "backgroundColor"))
            inks.add(browser.execute_script(colour, "figure svg text", "fill"))
    assert len(backgrounds) == len(inks) == 2, "light and dark differ, and figures follow"


@pytest.mark.parametrize("name", ["several", "cifar", "two"])
def test_displayed_numbers_are_those_of_the_summaries(
    browser: webdriver.Chrome, pages: dict[str, tuple[Path, list[Path]]], name: str
) -> None:
    page, runs = pages[name]
    look(browser, page, 1280, "light")
    summaries = [json.loads((run / "summary.json").read_text()) for run in runs]
    for key in ("accuracy", "accuracy_quantized"):
        shown = [part.text for part in browser.find_elements(By.CSS_SELECTOR, f'[data-key="{key}"]')]
        assert shown == [f"{100 * summary[key]:.2f} %" for summary in summaries]
    proofs = browser.find_elements(By.CSS_SELECTOR, '[data-key="max_error_full_scale"]')
    proved = [summary["verification"] for summary in summaries if summary["verification"]["samples"]]
    assert len(proofs) == len(proved)
    for part, proof in zip(proofs, proved, strict=True):
        assert f"{proof['max_error_full_scale']:.1e}" in part.text
        assert len(re.findall(rf"\b{proof['samples']} reads[^.]* were solved again by ngspice", part.text)) == 1
    heading = browser.find_element(By.TAG_NAME, "h1").text
    assert heading == f"{summaries[0]['network']} on {summaries[0]['dataset']}"


def test_it_prints_in_black_on_white_in_any_colour_scheme(
    browser: webdriver.Chrome, pages: dict[str, tuple[Path, list[Path]]]
) -> None:
    look(browser, pages["two"][0], 1280, "dark")
    media = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    colours = browser.execute_script(
        "const of = part => getComputedStyle(document.querySelector(part));"
        "return [of('body').backgroundColor, of('body').color, of('figure svg text').fill]"
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert colours == ["rgb(255, 255, 255)", "rgb(0, 0, 0)", "rgb(0, 0, 0)"]


@pytest.mark.parametrize("name", ["cifar", "two"])
@pytest.mark.slow
def test_every_layer_can_be_picked(
    browser: webdriver.Chrome, pages: dict[str, tuple[Path, list[Path]]], name: str
) -> None:
    page, runs = pages[name]
    requests(browser)
    look(browser, page, 360, "light")
    pickers = browser.find_elements(By.CSS_SELECTOR, "[data-picker]")
    assert len(pickers) == len(runs) == len(shown_layers(browser)), "one layer of each run"
    for picker, run in zip(pickers, runs, strict=True):
        names = {layer["name"] for layer in json.loads((run / "summary.json").read_text())["layers"]}
        back, on = picker.find_elements(By.TAG_NAME, "button")
        while back.is_enabled():
            back.click()
        seen = []
        while True:
            (layer,) = [part for part in picker.find_elements(By.TAG_NAME, "article") if part.is_displayed()]
            seen.append(layer.get_attribute("data-layer"))
            assert Select(picker.find_element(By.TAG_NAME, "select")).first_selected_option.text == seen[-1]
            for figure in layer.find_elements(By.TAG_NAME, "svg"):
                assert figure.rect["width"] > 200
            across = browser.execute_script("return document.documentElement.scrollWidth")
            assert across <= 360, seen[-1]
            if not on.is_enabled():
                break
            on.click()
        assert set(seen) == names and len(seen) == len(names)
    # The second layer of the drawing leads to its part of the page.
    (link, *_) = browser.find_elements(By.CSS_SELECTOR, 'figure a[*|href$="network-2"] text')
    link.click()
    WebDriverWait(browser, 5).until(lambda _: any(part.endswith("network-2") for part in shown_layers(browser)))
    assert browser.get_log("browser") == [] and requests(browser) <= {page.as_uri()}


def test_all_layers_are_there_without_script_and_on_paper(
    browser: webdriver.Chrome, pages: dict[str, tuple[Path, list[Path]]], tmp_path: Path
) -> None:
    page, _ = pages["two"]
    look(browser, page, PAPER, "light")
    everything = {part.get_attribute("id") for part in browser.find_elements(By.TAG_NAME, "article")}
    assert len(everything) == 6 and len(shown_layers(browser)) == 2
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert set(shown_layers(browser)) == everything
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PAPER
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})
    pdf = b64decode(printed["data"])
    assert pdf.startswith(b"%PDF") and 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 30
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    plain = tmp_path / "plain.html"
    plain.write_text(re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.DOTALL))
    look(browser, plain, 360, "dark")
    assert set(shown_layers(browser)) == everything
