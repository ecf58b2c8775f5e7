"""Every check of a policy against the catalogue, in one table. Called by loading, after the model.

A check is a function that yields problems; its code never changes its meaning. To add one: write it
in the module of its subject, and give it a line here.
"""

from __future__ import annotations

from collections.abc import Iterator

from remediator.core.catalog import Catalog
from remediator.core.policy import Policy
from remediator.policyfiles.checks import (
    arguments,
    conditions,
    gates,
    lasting,
    naming,
    safety,
    statements,
    watching,
)
from remediator.policyfiles.checks.uses import Check, Look, Problem

CHECKS: tuple[Check, ...] = (
    Check("P101", "error", naming.unknown_operation),
    Check("P102", "error", naming.unknown_connection),
    Check("P103", "error", naming.wrong_connection),
    Check("P104", "error", naming.wrong_kind),
    Check("P105", "error", arguments.unknown_argument),
    Check("P106", "error", arguments.missing_argument),
    Check("P107", "error", arguments.wrong_argument),
    Check("P108", "error", naming.unknown_command),
    Check("P109", "error", arguments.refused_argument),
    Check("P110", "error", naming.unknown_name),
    Check("P111", "error", naming.unknown_field),
    Check("P112", "error", naming.unknown_result),
    Check("P113", "error", naming.no_list),
    Check("P120", "error", naming.clash),
    Check("P121", "error", arguments.open_param),
    Check("P122", "error", arguments.empty_choice),
    Check("P123", "error", arguments.wrong_default),
    Check("P124", "warning", arguments.unused_param),
    Check("P125", "warning", arguments.any_text),
    Check("P130", "error", naming.unknown_kind),
    Check("P131", "error", naming.unknown_chain),
    Check("P132", "error", gates.unknown_role),
    Check("P133", "error", gates.empty_role),
    Check("P134", "error", gates.unsatisfiable),
    Check("P135", "warning", gates.satisfiable_for_a_time),
    Check("P136", "error", naming.unknown_budget),
    Check("P137", "error", safety.never_open),
    Check("P138", "warning", safety.idle_breaker),
    Check("P139", "error", watching.never_fires),
    Check("P140", "error", naming.unknown_step),
    Check("P141", "warning", naming.unused_step),
    Check("P142", "error", conditions.unreachable),
    Check("P150", "error", gates.ungated),
    Check("P151", "error", safety.unproved),
    Check("P152", "error", safety.uncountable),
    Check("P153", "error", safety.unbounded),
    Check("P154", "warning", safety.boundless),
    Check("P155", "error", conditions.never_holds),
    Check("P156", "warning", conditions.proves_nothing),
    Check("P157", "warning", conditions.only_success),
    Check("P159", "error", safety.senseless),
    Check("P160", "warning", safety.too_short),
    Check("P161", "note", gates.waived),
    Check("P162", "warning", lasting.stays),
    Check("P163", "warning", lasting.masked),
    Check("P164", "warning", lasting.undoes_nothing),
    Check("P165", "error", lasting.unrestorable),
    Check("P166", "error", gates.waters_down),
    Check("P167", "error", safety.restless),
    Check("P168", "warning", lasting.looks_seldom),
    Check("P169", "warning", safety.idle_figures),
    Check("P173", "error", safety.unsaid),
    Check("P174", "warning", naming.foreign),
    Check("P175", "warning", arguments.idle_share),
    Check("P201", "error", statements.no_sql),
    Check("P202", "error", statements.several),
    Check("P203", "error", statements.wrong_kind),
    Check("P204", "error", statements.unknown_table),
    Check("P205", "error", statements.unknown_function),
    Check("P206", "error", statements.hidden_column),
    Check("P207", "error", statements.miscounted),
    Check("P208", "error", safety.counts_none),
    Check("P210", "error", statements.every_row),
    Check("P211", "error", statements.wrong_form),
    Check("P212", "error", statements.reads_itself),
    Check("P213", "error", statements.hiding),
)


def check(policy: Policy, catalog: Catalog) -> Iterator[tuple[Check, Problem]]:
    """Everything that is wrong with a policy, or worth a look."""
    look = Look(policy, catalog)
    for one in CHECKS:
        for problem in one.look(look):
            yield one, problem
