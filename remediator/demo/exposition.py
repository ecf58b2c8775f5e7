"""The demo business as Prometheus sees it: the text format of ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from remediator.demo.loyalty import Business

Sample = tuple[dict[str, str], float]


def metrics(business: Business) -> str:
    """All families, in the text exposition format 0.0.4."""
    return "".join(f"{line}\n" for line in _lines(business))


def _lines(business: Business) -> Iterator[str]:
    campaigns = business.campaigns.values()
    programs = business.programs.values()
    workers = business.workers.values()
    yield from _family(
        "loyalty_campaign_executions_total",
        "counter",
        "Executions of a campaign, by how they ended",
        (
            ({"campaign_id": one.id, "status": status}, count)
            for one in campaigns
            for status, count in one.executions.items()
        ),
    )
    yield from _family(
        "loyalty_campaign_stuck",
        "gauge",
        "1 while a campaign is still scheduled two hours after its start",
        (({"campaign_id": one.id}, float(one.stuck(business.now))) for one in campaigns),
    )
    yield from _family(
        "loyalty_campaign_points_awarded_total",
        "counter",
        "Points awarded by a campaign",
        (({"campaign_id": one.id}, one.points_awarded) for one in campaigns),
    )
    yield from _family(
        "loyalty_worker_executions_total",
        "counter",
        "Executions of a worker, by how they ended",
        (
            ({"worker": one.name, "status": status}, count)
            for one in workers
            for status, count in one.executions.items()
        ),
    )
    yield from _family(
        "loyalty_worker_last_success_timestamp_seconds",
        "gauge",
        "When a worker last succeeded",
        (({"worker": one.name}, one.last_success) for one in workers),
    )
    yield from _family(
        "loyalty_queue_depth",
        "gauge",
        "Jobs that wait",
        (({"queue": name}, float(int(depth))) for name, depth in business.queues.items()),
    )
    yield from _family(
        "loyalty_api_latency_seconds",
        "gauge",
        "Latency of the API, 95th percentile",
        (({"endpoint": name, "quantile": "0.95"}, seconds) for name, seconds in business.latency.items()),
    )
    yield from _family(
        "loyalty_program_budget_spent",
        "gauge",
        "Points of a program's budget that are spent",
        (({"program_id": one.id}, one.budget_spent) for one in programs),
    )
    yield from _family(
        "loyalty_program_budget_limit",
        "gauge",
        "A program's budget, in points",
        (({"program_id": one.id}, one.budget_limit) for one in programs),
    )
    yield from _family(
        "loyalty_budget_spent_total",
        "counter",
        "Points that a program ever spent",
        (({"program_id": one.id}, business.spent_total.get(one.id, 0.0)) for one in programs),
    )


def _family(name: str, kind: str, words: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {words}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{{{inside}}} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
