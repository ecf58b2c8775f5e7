"""What `--help` shows of each command: the lines that somebody would type. A test parses every one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from types import MappingProxyType

EXAMPLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "serve": ("serve --config /etc/remediator/remediator.yaml",),
        "demo": ("demo", "demo --auto --port 8080"),
        "policy lint": (
            "policy lint policies/",
            "policy lint --strict --format github policies/stuck-campaign.yaml",
            "policy lint --explain P150",
        ),
        "policy preview": (
            "policy preview stuck-campaign --target campaign/c-103",
            "policy preview stuck-campaign --param campaign_id=c-103 --json",
        ),
        "policy explain": (
            "policy explain --alert webhook.json",
            "policy explain --fingerprint 0a1b2c3d4e5f6071 --json",
            "policy explain policies/ --alert -",
        ),
        "policy test": (
            "policy test policies/",
            "policy test policies/ -k 'denial cooldown' --watch",
            "policy test policies/ --cover-all --junit stories.xml",
        ),
        "policy diff": (
            "policy diff --base origin/main policies/",
            "policy diff --base HEAD~1 --json policies/stuck-campaign.yaml",
            "policy diff --base origin/main --from-file alerts.jsonl.gz policies/",
        ),
        "policy schema": ("policy schema", "policy schema --tests"),
        "policy backtest": (
            "policy backtest policies/ --from-store --since 7d --html backtest.html",
            "policy backtest policies/ --from-file webhooks.jsonl.gz --markdown",
            "policy backtest policies/ --from-prometheus http://127.0.0.1:9090 --since 30d --people silent",
        ),
        "runs list": ("runs list --state open", "runs list --policy stuck-campaign --json"),
        "runs show": ("runs show r-1m7yr2k8t2f4b9",),
        "runs start": (
            "runs start stuck-campaign --param campaign_id=c-103",
            "runs start scale-workers --param worker=w-3 --param replicas=4 --json",
        ),
        "runs settle": ("runs settle r-1m7yr2k8t2f4b9.q1 happened --reason 'the campaign is paused'",),
        "gates list": ("gates list",),
        "gates approve": ("gates approve r-1m7yr2k8t2f4b9.1",),
        "gates deny": ("gates deny r-1m7yr2k8t2f4b9.1 --reason 'the sale ends tonight'",),
        "gates ask": ("gates ask r-1m7yr2k8t2f4b9.1",),
        "halt": (
            "halt --reason 'the database is being moved'",
            "halt --policy stuck-campaign --reason 'its probe reads nonsense'",
            "halt --target campaign/c-103 --undos --reason 'I work on it'",
        ),
        "resume": ("resume", "resume h-1m7yr2k8t2f4b9"),
        "pages list": ("pages list",),
        "pages ack": ("pages ack p-1m7yr2k8t2f4b9",),
        "audit verify": (
            "audit verify --store sqlite:///var/lib/remediator/state.db",
            "audit verify --head 812:",
        ),
        "db status": ("db status", "db status --store sqlite:///var/lib/remediator/state.db --json"),
        "db migrate": ("db migrate", "db migrate --grant remediator_daemon"),
    }
)


def commands(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Every command that does something: its words, its help in a line, its parser."""
    for group in _groups(parser):
        helps = {one.dest: one.help or "" for one in group._choices_actions}  # noqa: SLF001 - no other way here, either
        for word, inner in group.choices.items():
            path = f"{name} {word}".strip()
            if _groups(inner):
                yield from commands(inner, path)
            else:
                yield path, helps.get(word, ""), inner


def _groups(parser: argparse.ArgumentParser) -> list[argparse._SubParsersAction[argparse.ArgumentParser]]:
    """The groups of commands below this one; argparse offers no other way to them."""
    return [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]  # noqa: SLF001 - see above


def teach(parser: argparse.ArgumentParser) -> None:
    """Give every command a description, and examples below its options."""
    for path, text, command in commands(parser):
        if not command.description:
            command.description = f"{text[:1].upper()}{text[1:]}."
        shown = "\n".join(f"  remediator {line}" for line in EXAMPLES.get(path, ()))
        command.epilog = f"examples:\n{shown}" if shown else None
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.description = _wrapped(command.description)


def _wrapped(text: str) -> str:
    import textwrap

    return textwrap.fill(text, 100)
