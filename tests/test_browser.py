"""The built pages and a report in a real browser: Chromium, driven by playwright.

    sphinx-build -W docs docs/_build/html
    npm install --prefix docs/_build/browser axe-core@4
    python -m pytest tests/test_browser.py

Nothing outside is opened: any other address is refused and a finding. Each page is opened once and looked at in both
widths, in daylight and at night; of the pages of source, which are all alike, one.
Where something is missing the tests are skipped, unless BROWSER_TESTS is "required".
"""

import os
import re
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.reporting import output

ROOT = Path(__file__).resolve().parents[1]
SITE, NPM = ROOT / "docs" / "_build" / "html", ROOT / "docs" / "_build" / "browser" / "node_modules"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
SIZES = {1280: 900, 390: 844}
# Redirects of old names and indices without words of their own.
EVERY_PAGE = sorted(str(page.relative_to(SITE)) for page in SITE.rglob("*.html") if "_static" not in page.parts)
SOURCE = "_modules/"
PAGES = [page for page in EVERY_PAGE if not page.startswith(SOURCE)]
PAGES += [page for page in EVERY_PAGE if page.startswith(SOURCE)][-1:]
SCRIPTS = sorted(str(script.relative_to(ROOT / "fits").with_suffix("")) for script in (ROOT / "fits").rglob("*.py"))
NARROW = 390
RULES = ["color-contrast", "image-alt", "link-name", "button-name", "label", "document-title", "html-has-lang", "list"]

LOOK = """async () => {
    const images = [...document.images];
    images.forEach(image => image.loading = 'eager');
    await Promise.all(images.map(image => image.decode().catch(() => null)));
    if (document.querySelector('.math')) await MathJax.startup.promise;
    const formulas = [...document.querySelectorAll('span.math, div.math')];
    return {
        broken: images.filter(image => !image.naturalWidth).map(image => image.src),
        wordless: images.filter(image => (image.alt || '').trim().length < 4).map(image => image.src),
        formulas: formulas.length,
        unset: formulas.filter(each => !each.querySelector('mjx-container svg')).map(each => each.textContent),
        wrong: [...document.querySelectorAll('mjx-merror, [data-mjx-error]')].map(each => each.textContent),
    }
}"""
WIDER = """() => {
    const most = document.documentElement.clientWidth, page = document.documentElement.scrollWidth;
    const clipped = node => node && node !== document.body && (
        getComputedStyle(node).overflowX !== 'visible' || clipped(node.parentElement));
    const far = node => node.getBoundingClientRect().right > most + 1 && !clipped(node.parentElement);
    const names = [...document.body.querySelectorAll('*')].filter(far).map(node => node.outerHTML.slice(0, 120));
    return page > most ? [`${page} of ${most} px: ${names.slice(0, 3).join(' | ')}`] : [];
}"""
CONTRAST = """async rules => {
    const found = await axe.run(document, {runOnly: rules, resultTypes: ['violations']});
    return found.violations.flatMap(rule => rule.nodes.map(
        node => `${rule.id}: ${node.html.slice(0, 160)} ${(node.any[0] || {}).message || ''}`));
}"""


def missing() -> str:
    """What these tests need and is not there, "" when all is."""
    if CHROMIUM is None:
        return "there is no Chromium: apt-get install chromium"
    if not (SITE / "index.html").exists():
        return "the pages are not built: sphinx-build -W docs docs/_build/html"
    if not (NPM / "axe-core").exists():
        return "npm install --prefix docs/_build/browser axe-core@4"
    try:
        import playwright  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        return 'pip install ".[docs]"'
    return ""


pytestmark = pytest.mark.skipif(
    bool(missing()) and os.environ.get("BROWSER_TESTS") != "required", reason=f"not in a browser: {missing()}"
)


@dataclass
class Visit:
    """What was found on a page."""

    messages: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    too_wide: list[str] = field(default_factory=list)
    hard_to_read: list[str] = field(default_factory=list)
    look: dict[str, Any] = field(default_factory=dict)


class Reader:
    """A browser that knows the site and a report, and nothing else."""

    def __init__(self, chromium: Any, folder: Path) -> None:
        self.roots = {"docs.test": SITE, "report.test": folder}
        self.visit = Visit()
        self.page = chromium.new_page()
        # Before each page, because the report allows no script of its own.
        self.page.add_init_script(path=NPM / "axe-core" / "axe.min.js")
        self.page.context.route("**/*", self.serve)
        self.page.on("console", self.hear)
        self.page.on("pageerror", lambda error: self.visit.messages.append(str(error)))

    def serve(self, route: Any) -> None:
        address = urlsplit(route.request.url)
        path = unquote(address.path).lstrip("/")
        if address.netloc in self.roots:
            file = self.roots[address.netloc] / path
        else:
            self.visit.outside.append(route.request.url)
            return route.abort()
        if not file.is_file():
            return route.fulfill(status=404, body=f"no {file}")
        return route.fulfill(path=file)

    def hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.visit.messages.append(f"{message.type}: {message.text} {message.location}")

    def read(self, address: str) -> Visit:
        self.visit = Visit()
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size({"width": 1280, "height": 900})
        self.page.goto(address)
        self.visit.look = self.page.evaluate(LOOK)
        for width, height in SIZES.items():
            self.page.set_viewport_size({"width": width, "height": height})
            self.visit.too_wide += self.page.evaluate(WIDER)
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                # Names of pictures and links are the same at every width, and in both schemes.
                rules = RULES if width > NARROW and scheme == "light" else RULES[:1]
                found = self.page.evaluate(CONTRAST, rules)
                self.visit.hard_to_read += [f"{width} px, {scheme}: {each}" for each in found]
        return self.visit


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    if missing():
        pytest.fail(missing())
    from playwright import sync_api  # pyright: ignore[reportMissingImports]

    folder = tmp_path_factory.mktemp("report")
    days, rng = np.array([0.1, 0.5, 1, 2, 3, 4, 7, 12]), np.random.default_rng(8)
    tables = [
        pd.DataFrame({"subject": name, "day": days, "copies_per_ug": 400 * np.exp(-days + 0.2 * rng.normal(size=8))})
        for name in ("A", "B")
    ]
    table = pd.concat(tables).assign(dose=1e6, SIMULATED=1, cohort="low")
    study = ck.read_study(table, lloq=3.0)
    output.write(ck.fit_each(models.load("nk_decline"), study, progress=False), folder / "fits")
    with sync_api.sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield Reader(chromium, folder)
        chromium.close()


@pytest.fixture(scope="module")
def visits(reader):
    pages = {page: reader.read(f"http://docs.test/{page}") for page in PAGES}
    return pages | {"report": reader.read("http://report.test/fits/report.html")}


def found(visits, what):
    """{page: findings} of the pages that have any."""
    each = {page: getattr(visit, what) if hasattr(visit, what) else visit.look[what] for page, visit in visits.items()}
    return {page: findings for page, findings in each.items() if findings}


def test_no_page_has_a_message_on_the_console(visits):
    assert found(visits, "messages") == {}


def test_nothing_outside_is_asked_for(visits):
    assert found(visits, "outside") == {}


def test_no_page_names_a_script_a_style_or_a_font_of_another_host():
    """Of what a browser loads by itself; links that a reader follows may lead anywhere."""
    loads = re.compile(
        r"""<(?:script|img|iframe|source)[^>]*\ssrc="(?:https?:)?//[^"]*"|<link[^>]*\shref="https?://[^"]*\""""
    )
    pages = {page: loads.findall((SITE / page).read_text(encoding="utf-8")) for page in EVERY_PAGE}
    assert {page: each for page, each in pages.items() if each} == {}
    styles = {file.name: re.findall(r"(?:@import|url\()\s*[\"']?https?://[^\"')]*", file.read_text(encoding="utf-8"))
              for file in (SITE / "_static").rglob("*.css")}  # fmt: skip
    assert styles
    assert {name: each for name, each in styles.items() if each} == {}


def test_every_picture_is_there(visits):
    assert found(visits, "broken") == {}


def test_every_picture_has_words(visits):
    assert found(visits, "wordless") == {}


def test_every_formula_is_set(visits):
    assert found(visits, "unset") == {}
    assert found(visits, "wrong") == {}
    pages = [page for page in visits if page.startswith("generated/models/")]
    assert {page for page in pages if visits[page].look["formulas"]} == set(pages)


def test_no_page_is_wider_than_a_window_or_a_telephone(visits):
    assert found(visits, "too_wide") == {}


def test_text_stands_out_and_links_and_buttons_have_names(visits):
    assert found(visits, "hard_to_read") == {}


class Anchors(HTMLParser):
    """Where the links of a page lead, and the places in it that can be led to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links, self.names = list[str](), set[str]()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.names |= {known[name] or "" for name in ("id", "name") if name in known}
        if tag == "a" and known.get("href"):
            self.links.append(str(known["href"]))


def test_every_link_inside_leads_somewhere():
    pages, lost = {SITE / page: Anchors(SITE / page) for page in EVERY_PAGE}, []
    for page, anchors in pages.items():
        for link in anchors.links:
            address = urlsplit(link)
            if address.scheme or link == "#":
                continue
            target = (page.parent / unquote(address.path)).resolve() if address.path else page
            place = unquote(address.fragment)
            if not target.is_file() or (target in pages and place and place not in pages[target].names):
                lost.append(f"{page.relative_to(SITE)}: {link}")
    assert pages
    assert lost == []


def test_search_finds_the_limit_of_quantification(reader):
    reader.visit = Visit()
    reader.page.goto("http://docs.test/search.html?q=LLOQ")
    reader.page.wait_for_selector("#search-results li a", timeout=20_000)
    reader.page.wait_for_function("!/Searching/.test(document.querySelector('#search-results').textContent)")
    pages = reader.page.eval_on_selector_all("#search-results li a", "links => links.map(link => link.pathname)")
    assert {"/data.html", "/glossary.html"} <= set(pages)
    assert reader.visit.messages == []


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("NLME", "/glossary.html"), ("mixed effects", "/glossary.html"), ("VPC", "/generated/cellkinetics.vpc.html"),
        ("shrinkage", "/populations.html"), ("BLQ", "/data.html"), ("M3", "/censoring.html"),
        ("Emax", "/glossary.html"), ("waterfall", "/figures.html"), ("forest", "/figures.html"),
        ("PKNCA", "/in_r.html"),
        ("half-life", "/glossary.html"), ("own ODE", "/own_ode.html"), ("regimen", "/another_regimen.html"),
        ("goodness", "/figures.html"), ("Bayesian", "/glossary.html"), ("MCMC", "/glossary.html"),
    ],
)  # fmt: skip
def test_words_of_users_lead_to_their_page(reader, words, page):
    reader.visit = Visit()
    reader.page.goto(f"http://docs.test/search.html?q={words.replace(' ', '+')}")
    reader.page.wait_for_selector("#search-results li a", timeout=20_000)
    reader.page.wait_for_function("!/Searching/.test(document.querySelector('#search-results').textContent)")
    pages = reader.page.eval_on_selector_all("#search-results li a", "links => links.map(link => link.pathname)")
    assert page in pages[:12]


def test_code_is_copied_without_prompts_and_without_what_it_shows(reader):
    reader.visit = Visit()
    reader.page.goto("http://docs.test/three_models.html")
    # Outside https a page copies what it selects; that is kept here.
    reader.page.evaluate(
        "() => { document.execCommand = () => { window.taken = document.activeElement.value; return true } }"
    )
    reader.page.eval_on_selector("button.copybtn", "button => button.click()")
    taken = reader.page.evaluate("window.taken")
    assert taken.startswith("import cellkinetics as ck\nstudy = ck.example()")
    assert ">>>" not in taken
    assert "0.99" not in taken
    code = reader.page.eval_on_selector_all("div.highlight", "blocks => blocks.length")
    buttons = reader.page.eval_on_selector_all("button.copybtn", "buttons => buttons.length")
    assert buttons == code > 2


def test_every_function_of_the_reference_that_a_script_uses_leads_to_it():
    page = (SITE / "generated" / "cellkinetics.fit_each.html").read_text()
    scripts = [name for name in SCRIPTS if "ck.fit_each(" in (ROOT / "fits" / f"{name}.py").read_text()]
    assert scripts
    assert [name for name in scripts if f"gallery/{name}.html" not in page] == []


def test_what_the_reference_describes_leads_to_its_source():
    page = (SITE / "generated" / "cellkinetics.fit_each.html").read_text(encoding="utf-8")
    place = re.search(r'href="\.\./(_modules/[^"#]+)#([\w.]+)"', page)
    assert place
    source = (SITE / place[1]).read_text(encoding="utf-8")
    assert f'id="{place[2]}"' in source
    assert "def</span>" in source.split(f'id="{place[2]}"')[1][:600]


def test_every_page_of_the_gallery_ends_in_a_figure_and_has_its_picture_in_the_index(visits):
    index = (SITE / "gallery" / "index.html").read_text()
    for script in SCRIPTS:
        page, name = (SITE / "gallery" / f"{script}.html").read_text(), Path(script).name
        assert re.search(rf"_images/sphx_glr_{name}_\d+\.png", page), script
        assert f"_images/sphx_glr_{name}_thumb.png" in index, script


def test_the_gallery_has_sections_in_the_order_of_a_study_each_with_what_it_is_about():
    index = (SITE / "gallery" / "index.html").read_text()
    sections = re.findall(r"<h2>([^<]*)<", index)
    assert sections == ["Read", "Look", "Fit", "Doubt", "Compare", "Population", "Forecast", "Design", "Report"]
    for folder in sorted({script.split("/")[0] for script in SCRIPTS}):
        header = (ROOT / "fits" / folder / "GALLERY_HEADER.rst").read_text().splitlines()
        assert header[3] in index, folder
