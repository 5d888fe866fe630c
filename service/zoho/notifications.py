"""CRM's notifications: the channel that tells us of changes, asked for, renewed, and asked for again.

Implements facts `zoho-crm` section 4.1. A channel lives a week at most, or a day, or an hour, as the
vendor answers; it can die without a word, so it is looked after every few minutes by one node at a time.
What it says when it calls is verified and kept in `service/web/hooks.py`.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
import structlog

from service.db import Database
from service.errors import Unreachable, ZohoError
from service.policy import ZohoMapping
from service.reconciler import channels
from service.reconciler.channels import Channel
from service.zoho import crm_answers
from service.zoho.records import iso, moment
from service.zoho.transport import Call, Transport

log = structlog.get_logger(__name__)

PATH = "/crm/v8/actions/watch"
LONGEST = timedelta(days=7) - timedelta(minutes=10)
"""What is asked for first: a longer life than a week is answered with an hour."""
SHORTER = timedelta(hours=23)
"""What is asked for where a week was too long; older texts say that a day is the most."""
RENEWED_EVERY = timedelta(hours=1)
"""How often a channel is prolonged, for one credit: this also tells whether CRM still knows it."""
MARGIN = timedelta(minutes=20)
"""How long before its end one that lives shorter than that is prolonged."""
AGAIN = timedelta(minutes=1)
"""How long after a failure CRM is asked again; until then it is looked at often instead."""
MOST_FIELDS = 10
"""Fields of one condition."""
DEAD = "NOT_SUBSCRIBED"


@dataclass(frozen=True, slots=True)
class Notifications:
    """The calls about channels; errors are `ZohoError`s."""

    transport: Transport

    def enable(
        self, wanted: Channel, token: str, *, until: datetime, conditions: Sequence[Mapping[str, Any]] = ()
    ) -> datetime:
        """Ask for the channel, anew if it exists; return until when CRM will keep it."""
        told: dict[str, Any] = {
            "channel_id": wanted.channel_id,
            "events": list(wanted.events),
            "notify_url": wanted.notify_url,
            "token": token,
            "channel_expiry": iso(until),
            "return_affected_field_values": False,  # nobody's data need travel: the record is read again
            "notify_on_related_action": False,
        }
        if conditions:
            told["notification_condition"] = list(conditions)
        return self._change("POST", told)

    def renew(self, living: Channel, *, until: datetime) -> datetime:
        """Prolong a living channel; raises `ZohoError` with the code NOT_SUBSCRIBED for a dead one."""
        told = {
            "channel_id": living.channel_id,
            "events": list(living.events),
            "channel_expiry": iso(until),
        }
        return self._change("PATCH", told)

    def disable(self, channel_id: str) -> None:
        """Give the channel up; one that is gone already is no error."""
        call = Call(
            method="DELETE",
            path=PATH,
            endpoint=f"DELETE {PATH}",
            params={"channel_ids": channel_id},
            credits=1,
        )
        answer = self.transport.send(call)
        if not crm_answers.is_error(answer, DEAD):
            _item(answer.json(call.endpoint), call.endpoint)

    def condition(self, module: str, fields: Sequence[str]) -> Mapping[str, Any] | None:
        """Return the condition that these fields alone count, by CRM's ids; None if it has no such ids."""
        numbers = self._ids(f"/crm/v8/settings/modules/{module}", "modules")
        named = self._ids("/crm/v8/settings/fields", "fields", {"module": module})
        wanted = [name for name in fields if name in named]
        if module not in numbers or not wanted or len(wanted) > MOST_FIELDS:
            return None
        group = [{"field": {"api_name": name, "id": named[name]}} for name in wanted]
        selection = group[0] if len(group) == 1 else {"group_operator": "or", "group": group}
        return {
            "type": "field_selection",
            "module": {"api_name": module, "id": numbers[module]},
            "field_selection": selection,
        }

    def _ids(self, path: str, key: str, params: Mapping[str, str] | None = None) -> dict[str, str]:
        call = Call(method="GET", path=path, endpoint=f"GET {path}", params=params or {}, credits=1)
        rows = crm_answers.rows(self.transport.send(call), call.endpoint, key=key)
        return {str(row["api_name"]): str(row["id"]) for row in rows if row.get("api_name") and row.get("id")}

    def _change(self, method: str, told: Mapping[str, Any]) -> datetime:
        call = Call(
            method=method,
            path=PATH,
            endpoint=f"{method} {PATH}",
            headers={"Content-Type": "application/json"},
            body=msgspec.json.encode({"watch": [told]}),
            credits=1,
        )
        item = _item(self.transport.send(call).json(call.endpoint), call.endpoint)
        details = item.get("details")
        events = details.get("events", ()) if isinstance(details, dict) else ()
        ends = [end for event in events if (end := moment(event.get("channel_expiry"))) is not None]
        if not ends:
            raise Unreachable(f"CRM took {call.endpoint} and did not say until when", code="UNREADABLE")
        return min(ends)


@dataclass(slots=True, kw_only=True)
class Subscription:
    """Keeps one channel alive for as long as somebody calls `keep`; one node at a time does.

    `url` is where CRM reaches us. The channel's number is made of the log's name, so that a new
    installation of the same log takes the channel over instead of adding another.
    """

    db: Database
    client: Notifications
    mapping: ZohoMapping
    url: str
    origin: str
    now: Callable[[], datetime]
    rests_until: datetime | None = None
    """After a failure: when CRM is asked again."""

    @property
    def channel_id(self) -> str:
        """Return the number that we chose for the channel."""
        return str(int.from_bytes(sha256(f"{self.origin}\nzoho-crm".encode()).digest()[:7]) or 1)

    @property
    def wanted(self) -> Channel:
        """Return the channel as it should be."""
        now = self.now()
        return Channel(
            channel_id=self.channel_id,
            notify_url=self.url,
            events=tuple(
                f"{module.name}.{verb}" for module in self.mapping.crm.modules for verb in ("create", "edit")
            ),
            watched_sha256=sha256(msgspec.json.encode(self._watched())).digest(),
            renewed_at=now,
            expires_at=now,
        )

    def keep(self) -> None:
        """Do what the channel needs now, mostly nothing; a failure is kept and logged, never raised."""
        if self.rests_until is not None and self.now() < self.rests_until:
            return
        with self.db.read() as tx:
            known = channels.known(tx, self.channel_id)
        try:
            self._keep(known)
        except ZohoError as error:
            log.warning("channel.trouble", kind=type(error).__name__, code=error.code)
            self.rests_until = self.now() + AGAIN
            with self.db.begin() as tx:
                channels.complain(tx, self.channel_id, str(error))

    def _keep(self, known: Channel | None) -> None:
        now, wanted = self.now(), self.wanted
        if known is None or _asked(known) != _asked(wanted) or known.expires_at <= now:
            self._subscribe()
        elif now - known.renewed_at >= RENEWED_EVERY or known.expires_at - now < MARGIN:
            self._renew(known)

    def _subscribe(self) -> None:
        """Ask for the channel with a fresh token, which is expected before CRM knows of it."""
        token, now, wanted = secrets.token_urlsafe(36), self.now(), self.wanted
        with self.db.begin() as tx:
            channels.prepare(tx, wanted, token, at=now)
        conditions = self._conditions()
        ends = self._confirm(
            lambda until: self.client.enable(wanted, token, until=until, conditions=conditions)
        )
        log.info("channel.subscribed", until=ends.isoformat())

    def _renew(self, known: Channel) -> None:
        try:
            self._confirm(lambda until: self.client.renew(known, until=until))
        except ZohoError as error:
            if error.code != DEAD:
                raise
            self._subscribe()

    def _confirm(self, ask: Callable[[datetime], datetime]) -> datetime:
        """Ask for the longest life that CRM gives, keep what it says, and return until when that is."""
        now = self.now()
        ends = ask(now + LONGEST)
        if ends - now < SHORTER / 2:
            ends = ask(now + SHORTER)
        with self.db.begin() as tx:
            channels.confirm(tx, self.channel_id, at=now, expires_at=ends)
        return ends

    def _watched(self) -> Sequence[tuple[str, Sequence[str]]]:
        """Return the fields that matter, by module."""
        crm = self.mapping.crm
        return [(module.name, (crm.opt_out_field, *module.emails)) for module in crm.modules]

    def _conditions(self) -> list[Mapping[str, Any]]:
        """Return what keeps CRM from telling every edit; where its metadata are closed to us it tells all."""
        found = []
        for module, fields in self._watched():
            try:
                one = self.client.condition(module, fields)
            except ZohoError as error:
                log.info("channel.unconditional", code=error.code)
                return []
            if one is None:
                return []
            found.append(one)
        return found


def _asked(one: Channel) -> tuple[object, ...]:
    """Return what tells a channel that has to be asked for anew from one that is as it should be."""
    return one.notify_url, one.events, one.watched_sha256


def _item(payload: object, endpoint: str) -> Mapping[str, Any]:
    """Return the one item of an answer about one channel; raises `ZohoError` where it is an error."""
    found = payload.get("watch") if isinstance(payload, dict) else None
    item = found[0] if isinstance(found, list) and found else payload
    if isinstance(item, dict) and item.get("status") == "success":
        return item
    code = str(item.get("code", "")) if isinstance(item, dict) else ""
    raise ZohoError(
        f"CRM does not keep the notification channel ({code or 'no code'}); check that the refresh token has "
        "ZohoCRM.notifications.ALL and that CONSENT_HOOKS_URL can be reached from outside",
        code=code,
        endpoint=endpoint,
    )
