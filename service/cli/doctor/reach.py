"""Checks of who reaches whom: the world the service, the service its mail server."""

import ipaddress
import socket
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

from sqlalchemy import select

from service.cli.doctor.finding import Look, fail, fine, warn
from service.cli.doctor.scene import Scene
from service.db import channel
from service.mail import FolderOutbox, SmtpOutbox
from service.settings import Settings
from service.zoho.wire import Answer, Line

PUBLIC = "CONSENT_PUBLIC_URL"


def webhooks(scene: Scene) -> Iterator[Look]:
    """Look whether the public address answers with this service, as far as that shows from here.

    Recipients' one-click links and Zoho's notifications both go there.
    """
    url = scene.settings.public_url.rstrip("/")
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        yield fail(f"{PUBLIC} is no address of the web", "set it like https://consent.example.org", PUBLIC)
        return
    if parts.scheme == "http":
        yield warn(f"{url} is not encrypted", "put a TLS proxy in front and use https://", PUBLIC)
    private = _private(parts.hostname)
    if private:
        todo = "set it to an address that the world resolves; until then Zoho cannot call back"
        yield warn(f"{url} is {private}, which nobody outside reaches", todo, PUBLIC)
    line = Line()
    try:
        answer = line.exchange("GET", f"{url}/healthz")
    finally:
        line.close()
    if not isinstance(answer, Answer):
        yield fail(f"{url} does not answer ({answer.why})", "start `serve`, or correct proxy and DNS", PUBLIC)
    elif answer.status != HTTPStatus.OK or b'"alive"' not in answer.body:
        seen = f"{url} answers, but not as this service (HTTP {answer.status})"
        yield fail(seen, "look at the proxy", PUBLIC)
    else:
        yield fine(f"{url} answers, seen from {'this machine' if private else 'here'}")


def channels(scene: Scene) -> Iterator[Look]:
    """Look at the notification channels: Zoho's own calls are the only proof that it reaches us."""
    columns = (channel.c.channel_id, channel.c.expires_at, channel.c.heard_at, channel.c.trouble)
    with scene.db.need().read() as tx:
        rows = tx.execute(select(*columns).order_by(channel.c.channel_id)).all()
    todo = "look whether Zoho reaches the public address; sweeps see the same changes meanwhile, only later"
    for row in rows:
        name = f"the notification channel {row.channel_id}"
        if row.trouble:
            yield warn(f"{name} could not be renewed: {row.trouble}", todo, PUBLIC)
        elif row.expires_at <= scene.now():
            yield warn(f"{name} ended at {row.expires_at:%Y-%m-%d %H:%M} UTC", "start `worker`", PUBLIC)
        elif row.heard_at is None:
            yield warn(f"{name} was never heard of", todo, PUBLIC)
        else:
            yield fine(f"{name} told something at {row.heard_at:%Y-%m-%d %H:%M} UTC")


def _private(host: str) -> str:
    """Return in words why nobody outside reaches a host, empty if its addresses are of the public net."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return "a name that does not resolve"
    addresses = [ipaddress.ip_address(str(one).partition("%")[0]) for one in found]
    if any(one.is_loopback for one in addresses):
        return "an address of this machine"
    return "" if all(one.is_global for one in addresses) else "an address of a private network"


def mail(scene: Scene) -> Iterator[Look]:
    """Look whether mail could go out: greet the server, or write into the folder; nothing is sent."""
    chosen = scene.settings
    if chosen.smtp_url is not None and chosen.smtp_url.get_secret_value():
        place = SmtpOutbox(chosen.smtp_url.get_secret_value()).greet()
        yield fine(f"{place} greets us; nothing was sent")
    else:
        place = FolderOutbox(chosen.state_dir / "outbox").greet()
        yield warn(
            f"mail is written to {place}, which nobody reads by itself",
            "name a mail server, as soon as legal is to be reached",
            "CONSENT_SMTP_URL",
        )
    for name in ("mail_to", "mail_from"):
        if getattr(chosen, name) == Settings.model_fields[name].default:
            setting = f"CONSENT_{name.upper()}"
            yield warn(f"{setting} is the example {getattr(chosen, name)}", "set your own", setting)
