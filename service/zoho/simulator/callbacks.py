"""After each call: whoever watches hears what has just happened."""

from service.zoho.simulator.world import World


def publish(world: World) -> None:
    """Tell the watchers the news of the call that is done."""
    world.news.clear()
