"""What writing to both products costs: stops record by record or in bulk, contacts, canaries."""

from collections import Counter
from collections.abc import Sequence
from math import ceil

from service.reconciler import natures
from service.reconciler.canaries import Canary
from service.reconciler.context import Context
from service.reconciler.plan import CRM_BATCH, CRM_READ, FEW
from service.reconciler.sizes import Sizes
from service.zoho.bulk_write import CREATE, JOB_CREDITS, MOST_ROWS, RESULT, STATUS, UPLOAD
from service.zoho.cost import Estimate
from service.zoho.crm_sweeps import POLLS
from service.zoho.quota import write_credits


def stop(found: Estimate, size: Sizes, *, bulk_write_from: int) -> None:
    """Add the writes that stop people, and the reading back of each; see `ZohoCrm.at_once` for bulk."""
    for module, count in size.stops.records.items():
        in_bulk = 0 if module in size.stops.reasoned else bulk_write_from
        _write_records(found, module, count, in_bulk)
    contacts = size.stops.contacts
    found.campaigns["json/listsubscribe"] += contacts
    found.campaigns["json/listunsubscribe"] += contacts * size.lists
    found.campaigns["json/contactdonotmail"] += contacts
    if contacts <= FEW:
        found.campaigns["json/contactdonotmail"] += contacts
    else:
        active = sum(count for (_, status), count in size.members.items() if status == "unsub") + contacts
        found.list_all("getlistsubscribers", active)


def _write_records(found: Estimate, module: str, count: int, bulk_write_from: int) -> None:
    left = count
    while 0 < bulk_write_from <= left:
        batch = min(left, MOST_ROWS)
        left -= batch
        if batch < bulk_write_from:
            _put(found, module, batch)
        else:
            _write_in_bulk(found, batch)
    _put(found, module, left)
    _read(found, count)


def _put(found: Estimate, module: str, count: int) -> None:
    for start in range(0, count, CRM_BATCH):
        found.ask_crm(f"PUT /crm/v8/{module}", 1, write_credits(min(CRM_BATCH, count - start)))


def _write_in_bulk(found: Estimate, count: int) -> None:
    """Add one job: all that it is to write is read again right before it, since it knows no condition."""
    _read(found, count)
    found.ask_crm("GET /crm/v8/org", 1, 1)
    found.ask_crm(UPLOAD, 1, 1)
    found.ask_crm(CREATE, 1, JOB_CREDITS)
    found.ask_crm(STATUS, POLLS - 1, POLLS - 1)
    found.ask_crm(RESULT, 1, 1)


def _read(found: Estimate, count: int) -> None:
    reads = ceil(count / CRM_READ)
    found.ask_crm("POST /crm/v8/coql", reads, reads)


def drive(found: Estimate, context: Context, them: Sequence[Canary]) -> None:
    """Add writing canaries as each state of them is."""
    alike = Counter((one.module, natures.OPTED_OUT[one.state]) for one in them)  # goes apart from stops
    for (module, _), count in alike.items():
        found.ask_crm(f"PUT /crm/v8/{module}", 1, write_credits(count))
    states = [one.state for one in them if one.is_first]
    found.campaigns += natures.calls(states, lists=len(context.lists), making=False)
