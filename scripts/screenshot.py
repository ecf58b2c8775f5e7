"""A picture of a running daemon's page, by the system's Chromium: ``make screenshot ARGS="--out x.png"``."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def main() -> int:
    """Exit status 0: the picture is written; 2: it could not be taken."""
    parser = argparse.ArgumentParser(description="a picture of the status page, as PNG")
    parser.add_argument("--url", default="http://127.0.0.1:8080/status")
    parser.add_argument("--out", type=Path, default=Path("status.png"))
    parser.add_argument("--size", default="1280x800", help="width x height of the window")
    parser.add_argument("--dark", action="store_true", help="as for a person who prefers dark")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("screenshot: no Chromium; apt-get install --no-install-recommends chromium", file=sys.stderr)
        return 2
    width, height = (int(part) for part in options.size.split("x"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        try:
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme="dark" if options.dark else "light"
            )
            page.goto(options.url, wait_until="load", timeout=20_000)
            page.screenshot(path=options.out, full_page=True)
        except Error as error:
            print(f"screenshot: {options.url}: {error.message.splitlines()[0]}", file=sys.stderr)
            print("screenshot: is it running? `make demo` in another window", file=sys.stderr)
            return 2
        finally:
            browser.close()
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
