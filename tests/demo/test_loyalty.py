"""The demo's business, by a clock of our own."""

from __future__ import annotations

import pytest

from remediator.demo.exposition import metrics
from remediator.demo.loyalty import (
    Business,
    Campaign,
    ConflictError,
    Program,
    Retrigger,
    UnknownThingError,
    Worker,
    small_business,
)

NOON = 1_795_262_400.0
HOUR = 3600.0


def overdue(retrigger: Retrigger = "helps") -> Business:
    business = small_business(NOON)
    stuck = Campaign("c-9", "p-23", "Korité", "scheduled", NOON - 3 * HOUR, blocked=True, retrigger=retrigger)
    business.campaigns["c-9"] = stuck
    return business


def test_a_running_campaign_awards_points_until_it_is_paused() -> None:
    business = small_business(NOON)
    business.advance(NOON + 10)
    assert business.campaign("c-101").points_awarded == pytest.approx(200)
    business.pause("c-101")
    business.advance(NOON + 60)
    assert business.campaign("c-101").points_awarded == pytest.approx(200)
    business.resume("c-101")
    business.advance(NOON + 61)
    assert business.campaign("c-101").points_awarded == pytest.approx(220)


def test_a_campaign_is_completed_when_all_is_awarded() -> None:
    business = small_business(NOON)
    business.campaigns["c-101"].points_planned = 100
    business.advance(NOON + 10)
    assert business.campaign("c-101").status == "completed"
    assert business.campaign("c-101").users_awarded == 4


def test_awards_come_out_of_the_budget_and_end_with_it() -> None:
    business = Business(NOON)
    business.programs["p"] = Program("p", budget_limit=100, budget_spent=90, points_per_second=1)
    business.campaigns["c"] = Campaign("c", "p", status="running", points_per_second=1)
    business.advance(NOON + 3)
    assert business.program("p").budget_spent == pytest.approx(96)
    business.advance(NOON + 60)
    assert business.program("p").budget_spent == pytest.approx(100)
    assert business.spent_total["p"] == pytest.approx(10)


def test_half_the_earn_rate_spends_half_as_fast() -> None:
    business = Business(NOON)
    business.programs["p"] = Program("p", earn_rate=0.035, points_per_second=2)
    business.advance(NOON + 10)
    assert business.program("p").budget_spent == pytest.approx(10)


def test_a_suspended_program_spends_nothing() -> None:
    business = Business(NOON)
    business.programs["p"] = Program("p", status="suspended", points_per_second=2)
    business.advance(NOON + 10)
    assert business.program("p").budget_spent == 0


def test_the_executor_starts_what_is_due_by_itself() -> None:
    business = small_business(NOON)
    business.campaigns["c-103"].start_date = NOON + 20
    business.advance(NOON + 15)
    assert business.campaign("c-103").status == "scheduled"
    business.advance(NOON + 31)
    assert business.campaign("c-103").status == "running"


def test_a_stuck_campaign_is_passed_over_until_it_is_retriggered() -> None:
    business = overdue()
    business.advance(NOON + 60)
    assert 'loyalty_campaign_stuck{campaign_id="c-9"} 1.0' in metrics(business)
    assert business.queues["campaign-execution"] > 0
    business.execute_campaign("c-9")
    assert business.campaign("c-9").status == "scheduled"
    business.advance(NOON + 62)
    assert business.campaign("c-9").status == "running"
    assert business.campaign("c-9").executions == {"success": 1, "failure": 0}
    assert 'loyalty_campaign_stuck{campaign_id="c-9"} 0.0' in metrics(business)


@pytest.mark.parametrize(
    ("retrigger", "statuses"),
    [("fails", ["scheduled", "scheduled"]), ("helps_second_time", ["scheduled", "running"])],
)
def test_retriggering_may_not_help(retrigger: Retrigger, statuses: list[str]) -> None:
    business = overdue(retrigger)
    seen = []
    for minute in (1, 2):
        business.execute_campaign("c-9")
        business.advance(NOON + minute * 60)
        seen.append(business.campaign("c-9").status)
    assert seen == statuses
    assert business.campaign("c-9").executions["failure"] == statuses.count("scheduled")


def test_two_retriggers_at_once_execute_a_campaign_once() -> None:
    business = overdue()
    business.execute_campaign("c-9")
    business.execute_campaign("c-9")
    business.advance(NOON + 5)
    assert business.campaign("c-9").executions == {"success": 1, "failure": 0}


def test_a_failing_worker_is_mended_by_hand_or_not() -> None:
    business = small_business(NOON)
    worker = business.worker("tier-evaluation")
    worker.failing = True
    business.advance(NOON + 20)
    assert (worker.executions["failure"], worker.last_success) == (1, NOON)
    worker.retrigger = "helps_second_time"
    business.evaluate_tiers(None)
    business.advance(NOON + 22)
    assert worker.failing
    business.evaluate_tiers("p-17")
    business.advance(NOON + 24)
    assert business.worker("tier-evaluation") == worker
    assert worker.last_success == NOON + 23


def test_what_does_not_fit_is_refused() -> None:
    business = small_business(NOON)
    with pytest.raises(ConflictError, match="c-104 is completed, neither running nor scheduled"):
        business.pause("c-104")
    with pytest.raises(ConflictError, match="not scheduled"):
        business.execute_campaign("c-101")
    with pytest.raises(UnknownThingError, match="no campaign c-0"):
        business.execute_campaign("c-0")
    with pytest.raises(UnknownThingError, match="no program p-0"):
        business.evaluate_tiers("p-0")


def test_a_campaign_paused_before_it_began_is_planned_anew_when_it_is_resumed() -> None:
    business = small_business(NOON)
    campaign = business.campaign("c-103")
    campaign.start_date, campaign.blocked = NOON - 3 * 3600, True
    assert campaign.stuck(NOON)
    business.pause("c-103")
    assert not campaign.stuck(NOON)
    business.resume("c-103")
    assert (campaign.status, campaign.stuck(NOON)) == ("scheduled", False)


def test_queues_drain_while_their_worker_is_well() -> None:
    business = small_business(NOON)
    business.queues["tier-evaluation"] = 100
    business.workers["tier-evaluation"] = Worker("tier-evaluation", last_run=NOON)
    business.advance(NOON + 5)
    assert business.queues["tier-evaluation"] == pytest.approx(50)


def test_label_values_are_escaped_in_the_metrics() -> None:
    business = Business(NOON)
    business.queues['a"b\\c\nd'] = 1
    assert 'loyalty_queue_depth{queue="a\\"b\\\\c\\nd"} 1.0' in metrics(business)
