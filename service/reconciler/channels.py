"""The rows of `channel`: whom CRM's notifications are believed from, and whether they can be relied on.

A notification is authentic by nothing but the token that it echoes (facts `zoho-crm`, 4.2). Only the
token's hash is kept, so that a copy of the database forges nothing.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import Connection, insert, or_, select, update

from service.db import channel

BOTH_TOKENS = timedelta(hours=1)
"""How long after a change of tokens a notification with the former one is still taken."""
HEARD_EVERY = timedelta(seconds=10)
"""How exactly it is noted when a channel was last heard."""
_NOBODY = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One channel as it was asked for, and until when it lives."""

    channel_id: str
    notify_url: str
    events: tuple[str, ...]
    watched_sha256: bytes | None = None
    """Of the modules and fields that it watches, which tells whether those of the mapping changed since."""
    renewed_at: datetime
    expires_at: datetime


def known(tx: Connection, channel_id: str) -> Channel | None:
    """Return the channel of this id, if it was ever asked for."""
    row = tx.execute(
        select(
            channel.c.notify_url,
            channel.c.events,
            channel.c.watched_sha256,
            channel.c.renewed_at,
            channel.c.expires_at,
        ).where(channel.c.channel_id == channel_id)
    ).one_or_none()
    if row is None:
        return None
    return Channel(
        channel_id=channel_id,
        notify_url=row.notify_url,
        events=tuple(row.events.split(",")),
        watched_sha256=row.watched_sha256,
        renewed_at=row.renewed_at,
        expires_at=row.expires_at,
    )


def prepare(tx: Connection, wanted: Channel, token: str, *, at: datetime) -> None:
    """Expect notifications of a channel before CRM is asked for it: the first may come before its answer."""
    digest = sha256(token.encode()).digest()
    told = {
        "notify_url": wanted.notify_url,
        "events": ",".join(wanted.events),
        "watched_sha256": wanted.watched_sha256,
        "token_sha256": digest,
    }
    renewed = tx.execute(
        update(channel)
        .where(channel.c.channel_id == wanted.channel_id)
        .values(**told, former_sha256=channel.c.token_sha256, made_at=at, expires_at=at)
    )
    if not renewed.rowcount:
        row = {**told, "channel_id": wanted.channel_id, "made_at": at, "renewed_at": at, "expires_at": at}
        tx.execute(insert(channel).values(**row))


def confirm(tx: Connection, channel_id: str, *, at: datetime, expires_at: datetime) -> None:
    """Say that CRM keeps the channel, and until when."""
    alive = {"renewed_at": at, "expires_at": expires_at, "trouble": None}
    tx.execute(update(channel).where(channel.c.channel_id == channel_id).values(**alive))


def complain(tx: Connection, channel_id: str, trouble: str) -> None:
    """Keep why the channel could not be asked for or renewed."""
    tx.execute(update(channel).where(channel.c.channel_id == channel_id).values(trouble=trouble))


def vouches(tx: Connection, channel_id: str, token: str, *, now: datetime) -> bool:
    """Return whether the token is that of the channel; as slow for a wrong one, and for no channel at all."""
    row = tx.execute(
        select(channel.c.token_sha256, channel.c.former_sha256, channel.c.made_at).where(
            channel.c.channel_id == channel_id
        )
    ).one_or_none()
    given = sha256(token.encode()).digest()
    present = hmac.compare_digest(given, _NOBODY if row is None else row.token_sha256)
    former = hmac.compare_digest(given, _NOBODY if row is None else row.former_sha256 or _NOBODY)
    return row is not None and (present or (former and now < row.made_at + BOTH_TOKENS))


def hear(tx: Connection, channel_id: str, *, at: datetime) -> None:
    """Note that the channel told something."""
    lately = or_(channel.c.heard_at.is_(None), channel.c.heard_at < at - HEARD_EVERY)
    tx.execute(update(channel).where(channel.c.channel_id == channel_id, lately).values(heard_at=at))


def miss(tx: Connection, *, at: datetime) -> None:
    """Note that something was found that a channel should have told."""
    tx.execute(update(channel).where(channel.c.expires_at > at).values(missed_at=at))


def reliable(tx: Connection, *, now: datetime) -> bool:
    """Return whether a channel lives, was ever heard, and missed nothing since.

    One that nobody heard yet may not reach us at all, however willingly CRM took it.
    """
    unmissed = or_(channel.c.missed_at.is_(None), channel.c.missed_at < channel.c.heard_at)
    lives = select(channel.c.channel_id).where(
        channel.c.expires_at > now, channel.c.heard_at.is_not(None), unmissed
    )
    return tx.execute(lives.limit(1)).first() is not None
