"""After each call, and several times a second: what is due happens, and whoever watches hears of it."""

import asyncio

from service.zoho.simulator import sync
from service.zoho.simulator.campaigns import workflows as campaigns_workflows
from service.zoho.simulator.crm import bulk_read, bulk_write, notify, workflows
from service.zoho.simulator.memory import save
from service.zoho.simulator.world import World

TICK_S = 0.1


def publish(world: World) -> None:
    """Do what is due, tell the watchers the news, and start posting to them."""
    if world.ticker is None or world.ticker.done():
        world.ticker = asyncio.get_running_loop().create_task(_tick_for_ever(world))
    tick(world)
    save(world)
    world.outbox.start()


def tick(world: World) -> bool:
    """Do what the simulated clock makes due, and tell the watchers; return whether anything happened."""
    number = world.last_record_id
    sync.tick(world)
    campaigns_workflows.settle(world)
    bulk_read.tick(world)
    bulk_write.tick(world)
    news, world.news = world.news, []
    notify.tell(world, news)
    notify.release(world)
    workflows.run(world)
    return bool(news) or number != world.last_record_id


async def _tick_for_ever(world: World) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        if tick(world):
            save(world)
        world.outbox.start()
