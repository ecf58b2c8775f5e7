"""Put a comment on the pull request, or renew the one that stands there. Standard library alone.

Read from the environment that GitHub gives to a step: GITHUB_API_URL, GITHUB_REPOSITORY,
GITHUB_EVENT_PATH; TOKEN may write pull requests. Where it may not, a warning says so, and all is well:
the same words stand in the job's summary.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PER_PAGE = 100
MOST_PAGES = 30
"""Pages of comments that are looked through for ours."""


def main() -> int:
    """0: it stands there, or may not; 1: GitHub did not answer as it should."""
    body = Path(sys.argv[1]).read_text(encoding="utf-8")
    mark = body.rstrip().splitlines()[-1]  # the last line of every such comment
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    number = int(event["pull_request"]["number"])
    issues = f"repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    try:
        ours = _ours(f"{issues}/{number}/comments", mark)
        if ours is None:
            _asked("POST", f"{issues}/{number}/comments", {"body": body})
        else:
            _asked("PATCH", f"{issues}/comments/{ours}", {"body": body})
    except urllib.error.HTTPError as error:
        if error.code in (401, 403, 404):
            print("::warning::this job may not comment (permissions: pull-requests: write); see its summary")
            return 0
        print(f"::error::GitHub answered {error.code} to the comment")
        return 1
    except OSError as error:
        print(f"::error::GitHub does not answer: {error}")
        return 1
    return 0


def _ours(comments: str, mark: str) -> int | None:
    """The comment of an earlier push: written by a bot, and ended with our mark."""
    for page in range(1, MOST_PAGES + 1):
        found = _asked("GET", f"{comments}?per_page={PER_PAGE}&page={page}")
        for one in found:
            author, words = one["user"] or {}, one["body"] or ""  # null: an account that is gone
            if author.get("type") == "Bot" and words.rstrip().endswith(mark):
                return int(one["id"])
        if len(found) < PER_PAGE:
            return None
    return None


def _asked(method: str, path: str, body: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 -- GitHub's own address, from the runner
        f"{os.environ['GITHUB_API_URL']}/{path}",
        data=json.dumps(body).encode() if body is not None else None,
        method=method,
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {os.environ['TOKEN']}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
