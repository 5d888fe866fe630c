"""Check of what stops many people at once in Campaigns; nothing is triggered."""

from collections.abc import Iterator

from service.cli.doctor.finding import Look, fail, fine
from service.cli.doctor.scene import Scene

WORKFLOWS = "Campaigns: Automation > Workflows"


def workflow(scene: Scene) -> Iterator[Look]:
    """Look whether the mapping names a workflow that stops 200 people by one call, and for which list."""
    campaigns = scene.policy.need().zoho.campaigns
    named = campaigns.workflow
    if named is None:
        yield fine(
            "withdrawals go one by one, about 90 people a minute; a workflow would stop 200 by one call "
            f"([campaigns.workflow] in policies/zoho.toml, {WORKFLOWS})"
        )
    elif named.list is not None and named.list not in {entry.name for entry in campaigns.lists}:
        yield fail(
            f"[campaigns.workflow] names the list {named.list}, which the mapping does not have",
            "name one of [[campaigns.lists]], or none",
            "policies/zoho.toml",
        )
    else:
        yield fine(
            f"from {named.from_people} people in five minutes on, a workflow stops 200 by one call; who is "
            f"not seen off the lists after {named.seen_within_minutes} minutes is stopped one by one"
        )
