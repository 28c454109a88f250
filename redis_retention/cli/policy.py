"""``redis-retention policy``: the policies that are kept in Redis."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from redis_retention import bodies, policies
from redis_retention.cli.connection import Settings, pass_settings, retention
from redis_retention.cli.options import as_bytes, global_options, policy_options, trigger_option
from redis_retention.cli.output import new_table, show, show_json, shown, span
from redis_retention.engine import Rule
from redis_retention.glob import parse
from redis_retention.policy import Policy


@click.group(no_args_is_help=False)
def policy() -> None:
    """Store what to keep in Redis, for everybody who trims.

    PATTERN is a glob for thread ids: * for any text, ? for one character, [a-z] for a set, a
    backslash before what is meant literally. The most specific pattern that matches a thread
    wins, and its policy counts as a whole: first a thread id without any wildcard, then the
    pattern with more literal characters, then the one with fewer wildcards.
    """


@policy.command(name="set")
@click.argument("pattern", type=as_bytes, default=policies.DEFAULT_PATTERN)
@policy_options
@trigger_option
@global_options()
@pass_settings
def set_policy(
    settings: Settings, pattern: bytes, policy: Policy | None, trigger: int | None
) -> None:
    """Store the policy for PATTERN, by default for all threads.

    It counts for all layouts, or for the one that --layout names.
    """
    if policy is None:
        raise click.UsageError(
            "say what to keep: --keep-last, --keep-within, --keep-runs or --expire-threads-after"
        )
    layout = settings.only_layout()
    with retention(settings) as found:
        rule = found.set_policy(policy, pattern, trigger=trigger, layout=layout)
    if settings.json:
        show_json(bodies.of_rule(rule))
    else:
        show(Text(f"Threads {_threads(rule)}: {sentence(rule)}."))


@policy.command(name="get")
@click.argument("thread_id", metavar="THREAD_ID", type=as_bytes)
@global_options()
@pass_settings
def get_policy(settings: Settings, thread_id: bytes) -> None:
    """Show which policy counts for a thread, and why."""
    with retention(settings) as found:
        matching = found.policies_for(thread_id)
    if settings.json:
        show_json(
            {
                "thread": thread_id.decode("utf-8", "replace"),
                "policy": bodies.of_rule(matching[0]) if matching else None,
                "reason": why(matching) if matching else None,
                "overruled": [bodies.of_rule(rule) for rule in matching[1:]],
            }
        )
    elif not matching:
        show(Text(f"No stored policy matches {shown(thread_id)}."))
    else:
        show(
            Text(f"Thread {shown(thread_id)}: {sentence(matching[0])}."),
            Text(f"The pattern {_threads(matching[0])} counts: {why(matching)}."),
        )


@policy.command(name="list")
@global_options()
@pass_settings
def list_policies(settings: Settings) -> None:
    """Show all stored policies, the most specific first."""
    with retention(settings) as found:
        rules = found.policies()
    if settings.json:
        show_json(bodies.of_rules(rules))
    elif rules:
        show(_table(rules))
    else:
        show(Text("No policy is stored; `redis-retention policy set` stores one."))


@policy.command(name="remove")
@click.argument("pattern", type=as_bytes)
@global_options()
@pass_settings
def remove_policy(settings: Settings, pattern: bytes) -> None:
    """Remove the policy for exactly this PATTERN, and the layout that --layout names."""
    layout = settings.only_layout()
    with retention(settings) as found:
        removed = found.remove_policy(pattern, layout=layout)
    if settings.json:
        show_json(bodies.of_removed_rule(pattern, removed))
    elif removed:
        show(Text(f"Removed the policy for {shown(pattern)}."))
    else:
        show(Text(f"No policy is stored for {shown(pattern)}; `policy list` lists them."))


def _threads(rule: Rule) -> str:
    """The pattern, and the layout if it names one."""
    return shown(rule.pattern) + (f" ({rule.layout})" if rule.layout else "")


def why(matching: list[Rule]) -> str:
    """Why the first of the rules that match a thread counts."""
    if parse(matching[0].pattern).exact:
        return "it is the thread's id"
    if len(matching) == 1:
        return "no other one matches"
    others = ", ".join(shown(rule.pattern) for rule in matching[1:])
    return f"it is more specific than {others}"


def sentence(rule: Rule) -> str:
    """A policy in words."""
    words = ["keep " + ", ".join(_kept(rule.policy))]
    if rule.policy.expire_after is not None:
        waiting = ", even when waiting" if rule.policy.expire_waiting else ""
        words.append(f"expire after {span(rule.policy.expire_after)}{waiting}")
    if rule.trigger is not None:
        words.append(f"trim by itself above {rule.trigger:,}")
    return "; ".join(words)


def _kept(policy: Policy) -> list[str]:
    if policy.keep_last is None:
        return ["everything"]
    kept = [f"the newest {policy.keep_last:,}" if policy.keep_last > 1 else "the newest one"]
    if policy.keep_within is not None:
        kept.append(f"what is younger than {span(policy.keep_within)}")
    if policy.keep_runs is not None:
        kept.append(f"the ends of {policy.keep_runs:,} runs")
    return kept


def _table(rules: list[Rule]) -> Table:
    made = new_table()
    made.add_column("threads", overflow="fold")
    made.add_column("policy")
    for rule in rules:
        made.add_row(Text(_threads(rule), overflow="fold"), Text(sentence(rule)))
    return made
