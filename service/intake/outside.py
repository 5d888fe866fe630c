"""What is kept outside of the database, the fence and the list of erasures, when its folder changes.

Both used to lie in the folder of state, beside the database of the embedded default: whoever restored
that folder restored them too. What is found there goes over, and nothing that is known is lost.
"""

import structlog

from service.errors import Misconfigured
from service.intake.erasures import ErasureList
from service.ledger.fence import Fence

log = structlog.get_logger()


def take_over(fence: Fence, erasures: ErasureList, former: Fence) -> None:
    """Take over what lies at the fence's former place: the larger checkpoint, and every erasure.

    Nothing at the former place is removed before it stands at the new one, durably. Raises `Misconfigured`
    where something there cannot be read, or the new place cannot be written.
    """
    if former.path.resolve() == fence.path.resolve():
        return
    former_list = ErasureList(former.path.with_name(erasures.path.name))
    if not (former.path.exists() or former_list.path.exists()):
        return
    try:
        _take_fence(fence, former)
        erasures.merge(former_list)
    except OSError as error:
        raise Misconfigured(
            f"the fence at {former.path} cannot be moved to {fence.path} ({error.strerror}); let the service "
            "write both folders, or set CONSENT_FENCE_FILE to another"
        ) from None
    log.info("fence.moved", to=str(fence.path))


def _take_fence(fence: Fence, former: Fence) -> None:
    with fence.locked():
        known = fence.read()
        earlier = former.read()
        if earlier is not None and (known is None or known.size < earlier.size):
            fence.write(former.path.read_bytes())
    for path in (former.path, former.path.with_name(former.path.name + ".lock")):
        path.unlink(missing_ok=True)
