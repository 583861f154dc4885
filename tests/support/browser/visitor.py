"""A visitor of the page, who notes whatever the browser complains about."""

import functools
import re
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import APIResponse, Browser, ConsoleMessage, Locator, Page

#: Waits for what the page shows, in milliseconds.
PATIENCE = 20_000
#: What the page writes where there is no number.
NONE = "\N{EN DASH}"
#: Whatever axe finds of these kinds is a fault.
_SERIOUS = ("serious", "critical")
#: Ends after what a click began is on the screen: the view of a new address, or its "Loading…".
_RENDERED = """() => new Promise((done) => {
  const frame = (then) => requestAnimationFrame(() => setTimeout(then));
  frame(() => frame(done));
})"""
_WATCH_POLICY = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
});
"""


def number(text: str) -> float:
    """Read a number as the page writes it."""
    return float(text.replace("\N{MINUS SIGN}", "-").replace(",", ""))


class Visitor:
    """One visitor with a window of their own."""

    def __init__(self, browser: Browser, address: str, *, width: int = 1280, scheme: str = "light") -> None:
        self.address = address
        self.context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
            accept_downloads=True,
        )
        self.context.set_default_timeout(PATIENCE)
        self.context.add_init_script(_WATCH_POLICY)
        self.page: Page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def open(self, view: str) -> None:
        """Go to a view, `#/jobs` for one, and wait until all of it is there."""
        self.page.goto(f"{self.address}/{view}")
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is on its way and every chart is drawn."""
        self.page.evaluate(_RENDERED)
        self.page.get_by_role("heading", level=1).wait_for()
        self.page.locator("[aria-busy]").first.wait_for(state="detached")
        for box in self.page.locator(".canvas").all():
            box.locator("canvas").wait_for(state="attached")

    def arrive(self, address: str) -> None:
        """Wait for an address that a pattern describes, and for its view."""
        self.page.wait_for_url(re.compile(address))
        self.settle()

    def see(self, text: str) -> None:
        """Wait until a text is on the screen."""
        self.page.get_by_text(text).first.wait_for()

    def heading(self) -> Locator:
        """Return the view's heading."""
        return self.page.get_by_role("heading", level=1)

    def inaccessible(self) -> list[str]:
        """Return axe's serious and critical findings."""
        self.page.evaluate(_axe())
        found: dict[str, Any] = self.page.evaluate("axe.run({resultTypes: ['violations']})")
        return [
            f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
            for each in found["violations"]
            if each["impact"] in _SERIOUS
            for node in each["nodes"]
        ]

    def overflow(self) -> int:
        """Tell by how many pixels the page is wider than the window."""
        script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(script))

    def data_links(self) -> list[str]:
        """Return the addresses of the links to data in this view."""
        links = self.page.locator("main .links a:not([rel])").all()
        return [str(link.get_attribute("href")) for link in links]

    def get(self, path: str) -> APIResponse:
        """Ask the server with this visitor's cookies."""
        return self.context.request.get(f"{self.address}/{path}")

    def shoot(self, path: Path) -> None:
        """Take a picture of the whole page."""
        self.page.screenshot(path=path, full_page=True)

    def close(self) -> None:
        """Close the window."""
        self.context.close()


@functools.cache
def _axe() -> str:
    (script,) = Path(axe_playwright_python.__file__).parent.rglob("axe*.js")
    return script.read_text(encoding="utf-8")
