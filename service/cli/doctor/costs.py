"""What doctor itself will ask of Zoho, told before it does."""

from sqlalchemy import func, select

from service.cli.doctor.finding import TROUBLE, Blocked
from service.cli.doctor.rights import looked_at
from service.cli.doctor.scene import Scene
from service.db import canary
from service.zoho import errands
from service.zoho.cost import Estimate


def expected(scene: Scene) -> Estimate:
    """Return what looking at everything costs where nothing fails; raises why there is no organisation.

    Where no process has a token, it is taken for one that names its scopes, as Zoho's newer answers do.
    """
    zoho = scene.clients.open()
    token = zoho.oauth.kept
    found = errands.of_doctor(
        modules=len(scene.policy.need().zoho.crm.modules),
        canaries=_canaries(scene),
        probing=token is not None and token.scopes is None,
    )
    found.oauth = int(token is None)
    if token is not None:
        found.ask_crm("GET /crm/v8/org", 1, 1)
    return found


def known(scene: Scene) -> Estimate | None:
    """Return the same, None where there is nothing to ask."""
    try:
        return expected(scene)
    except (*TROUBLE, Blocked):
        return None


def _canaries(scene: Scene) -> int:
    if not scene.is_migrated:
        return 0
    with scene.db.need().read() as tx:
        modules = select(func.count(canary.c.module.distinct())).where(looked_at(scene.policy.need()))
        return tx.scalar(modules) or 0
