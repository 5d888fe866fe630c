"""Zoho CRM v8 as the reconciler needs it: read every record with an address, write one checkbox.

Implements the port's `Crm` by facts `zoho-crm` sections 2 and 5. It writes nothing but the mapped
opt-out field, by record id, with `trigger: []`, so that no automation of the organisation answers to us.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from service.errors import Misconfigured, Unreachable, ZohoError
from service.policy import ZohoMapping
from service.reconciler.port import CrmChange, CrmRecord, Flip, Meter, Result
from service.zoho import coql, crm_answers, crm_writes
from service.zoho.bulk_read import BulkReader
from service.zoho.bulk_write import MOST_ROWS
from service.zoho.crm_reads import BASE, Reads
from service.zoho.crm_sweeps import Sweeps
from service.zoho.records import Layout, layouts, mailbox, same_address, spellings
from service.zoho.timelines import ZohoTimelines
from service.zoho.transport import Call, Transport
from service.zoho.users import Users

T = TypeVar("T")


class Organisation(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /org` tells that the audit needs."""

    zgid: str | int
    company_name: str | None = None
    time_zone: str | None = None
    type: str | None = None
    privacy_settings: bool | None = None
    license_details: dict[str, Any] | None = None


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a module as its metadata describe it."""

    api_name: str
    data_type: str
    field_label: str = ""
    read_only: bool = False
    custom_field: bool = False
    length: int | None = None
    operation_type: dict[str, bool] | None = None
    profiles: list[dict[str, Any]] | None = None
    pick_list_values: list[dict[str, Any]] | None = None


class ZohoCrm:
    """The CRM client of one organisation; errors are `ZohoError`s."""

    def __init__(self, transport: Transport, mapping: ZohoMapping) -> None:
        self._transport = transport
        self._layouts = layouts(mapping)
        self._opt_out = mapping.crm.opt_out_field
        self._reason_field = mapping.crm.reason_field
        self._reads = Reads(transport)
        self._users = Users(transport)
        self._timelines = ZohoTimelines(transport, mapping.crm.opt_out_field)
        self._sweeps = Sweeps(self._reads, BulkReader(transport), mapping.crm.sweep)
        self._bulk_write_from = mapping.crm.bulk_write_from
        self.meter: Meter = transport.till.meter

    def now(self) -> datetime:
        """Return CRM's own time, by its last answer; ours before the first."""
        return self._transport.now()

    def org(self) -> Organisation:
        """Return the organisation that the token belongs to."""
        endpoint = "GET /crm/v8/org"
        answer = self._transport.send(Call(method="GET", path=f"{BASE}/org", endpoint=endpoint, credits=1))
        return _typed(crm_answers.rows(answer, endpoint, key="org"), Organisation, endpoint)[0]

    def fields(self, module: str) -> Sequence[Field]:
        """Return the metadata of a module's fields; a module that does not exist is a `ZohoError`."""
        endpoint = "GET /crm/v8/settings/fields"
        params = {"module": module}
        answer = self._transport.send(
            Call(method="GET", path=f"{BASE}/settings/fields", endpoint=endpoint, params=params, credits=1)
        )
        found = crm_answers.rows(answer, endpoint, key="fields", about=f"module {module!r}")
        return _typed(found, Field, endpoint)

    def verify(self) -> None:
        """Check that every mapped module and field exists; raises `ZohoError` that names each missing one."""
        missing = []
        for layout in self._layouts.values():
            known = {field.api_name for field in self.fields(layout.module)} | {"id"}
            missing += [f"{layout.module}.{name}" for name in layout.columns if name not in known]
        if missing:
            raise ZohoError(
                f"CRM has no field {', '.join(missing)}; correct the names in policies/zoho.toml",
                code="FIELD_MISSING",
                endpoint="GET /crm/v8/settings/fields",
            )

    def records(
        self, module: str, fields: Sequence[str], modified_since: datetime | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a module by page tokens, lowest id first; CRM lists 100,000 at most."""
        return self._reads.listing(module, fields, modified_since)

    def coql(
        self, module: str, columns: Sequence[str], *, criterion: str | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Yield all rows of a module that meet `criterion`, ordered by id, however many there are."""
        return self._reads.coql(module, columns, criterion=criterion)

    def observe(
        self, *, since: datetime | None = None, modules: Sequence[str] | None = None
    ) -> Iterator[CrmRecord]:
        """Yield every record of the mapped modules, or of those named, or those modified since.

        Records without any address are among them: an increment must tell whose address was taken away.
        Where a bulk read breaks off and COQL takes over, records come twice.
        """
        for layout in self._chosen(modules):
            if since is None:
                found = self._sweeps.rows(layout.module, layout.columns)
            else:
                found = self.coql(layout.module, layout.columns, criterion=coql.modified_since(since))
            yield from (layout.read(row, self._users.name) for row in found)

    def deleted(self, since: datetime, modules: Sequence[str] | None = None) -> Iterator[tuple[str, str]]:
        """Yield (module, id) of the records that were deleted since; merged ones only if CRM lists them."""
        for layout in self._chosen(modules):
            yield from ((layout.module, found) for found in self._reads.deleted(layout.module, since))

    def counts(self, modules: Sequence[str] | None = None) -> Mapping[str, int]:
        """Return how many records each mapped module, or those named, holds; one credit each."""
        return {layout.module: self._reads.count(layout.module) for layout in self._chosen(modules)}

    def opted_out(self, since: datetime) -> Sequence[CrmRecord]:
        """Return the records with an address that are opted out and were modified since."""
        criterion = coql.opted_out_since(self._opt_out, since)
        found = [r for layout in self._layouts.values() for r in self._read_small(layout, criterion)]
        return [record for record in found if record.addresses]

    def find(self, address: str) -> Sequence[CrmRecord]:
        """Return every record, in all mapped modules, that carries `address` in any e-mail field."""
        found = []
        for layout in self._layouts.values():
            criterion = coql.any_equal(layout.emails, spellings(address))
            rows = self._read_small(layout, criterion)
            found += [r for r in rows if any(same_address(address, held) for held in r.addresses)]
        return found

    def find_many(self, addresses: Sequence[str]) -> Mapping[str, Sequence[CrmRecord]]:
        """Return what `find` returns for each of many addresses: a call per module and 50 spellings.

        An address that no query can hold (control characters) is on no record either.
        """
        asked = [address for address in addresses if address.isprintable()]
        values = list(dict.fromkeys(text for address in asked for text in spellings(address)))
        found: dict[str, list[CrmRecord]] = {}
        for layout in self._layouts.values():
            for start in range(0, len(values), coql.LARGEST_IN):
                criterion = coql.any_in(layout.emails, values[start : start + coql.LARGEST_IN])
                for record in self._read_small(layout, criterion):
                    for held in {mailbox(address) for address in record.addresses}:
                        mine = found.setdefault(held, [])
                        if record not in mine:
                            mine.append(record)
        return {address: found.get(mailbox(address), []) for address in addresses}

    def last_flip(self, module: str, record_id: str) -> Flip | None:
        """Return the newest change of a record's opt-out field, None where CRM knows none."""
        return self._timelines.last_flip(module, record_id)

    def read(self, targets: Sequence[tuple[str, str]]) -> Sequence[CrmRecord]:
        """Return the records named by (module, id) as they are now, in that order, without the gone."""
        found: dict[tuple[str, str], CrmRecord] = {}
        for module in dict.fromkeys(module for module, _ in targets):
            layout = self._layout(module)
            ids = list(dict.fromkeys(record_id for name, record_id in targets if name == module))
            for start in range(0, len(ids), coql.LARGEST_IN):
                for record in self._read_ids(layout, ids[start : start + coql.LARGEST_IN]):
                    found[module, record.record_id] = record
        return [found[target] for target in targets if target in found]

    def enforce(self, changes: Sequence[CrmChange]) -> Sequence[Result]:
        """Write the changes, 100 a call, those with `unmodified_since` alone; one result each, in order.

        A lost answer gives results with the code UNREACHABLE and `retry`: read those records back. Raises
        `ZohoDenied` or `QuotaExhausted` only while nothing was written; later they end up in the results.
        """
        if not self._in_bulk(changes):
            return crm_writes.enforce(
                self._transport, self._opt_out, changes, reason_field=self._reason_field
            )
        zgid = str(self.org().zgid)
        return crm_writes.enforce_in_bulk(self._transport, self._opt_out, changes, zgid=zgid)

    def at_once(self, waiting: int) -> int:
        """Return how many stops of one module are best written together when so many wait."""
        return MOST_ROWS if 0 < self._bulk_write_from <= waiting else crm_writes.BATCH

    def keeps_conditions(self, changes: Sequence[CrmChange]) -> bool:
        """Return whether `enforce` would heed `read_as_of` of these changes; a bulk write cannot."""
        return not self._in_bulk(changes)

    def _in_bulk(self, changes: Sequence[CrmChange]) -> bool:
        """Return whether a job is to write these: policy allows it, all are stops, enough of each."""
        if not self._bulk_write_from or any(c.unmodified_since or not c.opted_out for c in changes):
            return False
        if self._reason_field and any(change.reason for change in changes):
            return False
        modules = Counter(change.module for change in changes)
        return bool(modules) and min(modules.values()) >= self._bulk_write_from

    def add(self, module: str, address: str, *, opted_out: bool) -> tuple[str, Result]:
        """Add a record of our own (a canary) with this address; return its id, empty where it failed."""
        values: dict[str, str | bool] = {self._layout(module).emails[0]: address, self._opt_out: opted_out}
        return crm_writes.add(self._transport, module, values, name="Consent ledger canary")

    def _chosen(self, modules: Sequence[str] | None) -> Sequence[Layout]:
        return [self._layout(module) for module in (self._layouts if modules is None else modules)]

    def _layout(self, module: str) -> Layout:
        if module not in self._layouts:
            raise Misconfigured(
                f"policies/zoho.toml does not map the CRM module {module!r}; add it under [[crm.modules]]"
            )
        return self._layouts[module]

    def _read_ids(self, layout: Layout, ids: Sequence[str]) -> Sequence[CrmRecord]:
        """Return the records of these ids; who is missing is asked for once more: a page may be cut short."""
        found = list(self._read_small(layout, coql.one_of(ids)))
        known = {record.record_id for record in found}
        if found and (missing := [number for number in ids if number not in known]):
            found += self._read_small(layout, coql.one_of(missing))
        return found

    def _read_small(self, layout: Layout, criterion: str) -> Sequence[CrmRecord]:
        """Return the records of a criterion that few meet: one page of the cheapest size, then any rest.

        A page that is not full, counts its rows right and calls itself the last is believed to be it.
        """
        first = coql.after("0", criterion)
        rows, more = self._reads.coql_page(layout.module, layout.columns, first, coql.SMALLEST_PAGE)
        if rows and (more or len(rows) >= coql.SMALLEST_PAGE):
            last = str(rows[-1].get("id") or "0")
            full = len(rows) >= coql.SMALLEST_PAGE
            rest = self._reads.coql(layout.module, layout.columns, criterion=criterion, after=last, more=full)
            rows = [*rows, *rest]
        return [layout.read(row, self._users.name) for row in rows]


def _typed(found: Sequence[Mapping[str, Any]], kind: type[T], endpoint: str) -> Sequence[T]:
    """Return the rows as what they should be, at least one; raises `Unreachable` where they are not."""
    try:
        typed = msgspec.convert(found, list[kind], strict=False)  # type: ignore[valid-type]  # checked at run time
    except msgspec.ValidationError:
        typed = []
    if not typed:
        raise Unreachable(
            f"CRM's answer to {endpoint} is not what CRM v8 says; check CONSENT_ZOHO_CRM_URL",
            code="UNREADABLE",
            endpoint=endpoint,
        )
    return typed
