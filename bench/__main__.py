"""``python -m bench [NAME …] [--quick]``: one line of JSON per figure; status 1 when one misses its limit."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from types import MappingProxyType

from bench import (
    accepting,
    backtesting,
    claims,
    gates,
    linting,
    losing,
    matching,
    reading,
    runs,
    starting,
    stories,
    wire,
)
from bench.figures import Figure
from bench.noise import Noise

Measure = Callable[..., Iterator[Figure]]

MEASURES: MappingProxyType[str, Measure] = MappingProxyType(
    {
        "accept_1": accepting.accept_1,
        "accept_1_policies": accepting.accept_1_policies,
        "accept_100": accepting.accept_100,
        "wire": wire.wire,
        "wire_probe": wire.wire_probe,
        "start": starting.start_up,
        "rss": starting.rss,
        "match": matching.match,
        "lint": linting.lint_all,
        "backtest": backtesting.backtesting,
        "stories": stories.stories,
        "lost": losing.lost,
        "gate": gates.gate,
        "probe_postgres": reading.probe_postgres,
        "runs_sqlite": runs.runs_sqlite,
        "runs_postgres": runs.runs_postgres,
        "claims_sqlite": claims.claims_sqlite,
        "claims_postgres": claims.claims_postgres,
    }
)


def main() -> int:
    """0 when every figure holds, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURES)}; all by default")
    parser.add_argument(
        "--quick", action="store_true", help="one short round each: a smoke test, not a verdict"
    )
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in MEASURES]:
        parser.error(f"there is no {', '.join(unknown)}; choose from {', '.join(MEASURES)}")
    missed: list[Figure] = []
    for name in options.names or MEASURES:
        noise = Noise()
        figures = list(MEASURES[name](quick=options.quick))
        others = round(noise.cores(), 2)
        for figure in figures:
            print(figure.line(others_busy=others), flush=True)
        missed += [figure for figure in figures if not figure.ok]
    for figure in missed:
        told = f"{figure.name} misses its limit: {figure.value:.4g} {figure.bar.unit}"
        print(f"{told}, promised {figure.bar.side} {figure.bar.limit:g}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
