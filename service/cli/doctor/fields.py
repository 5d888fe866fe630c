"""Checks of what the mapping names: fields of CRM, labels, lists and segments of Campaigns."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from service.cli.doctor.finding import Blocked, Look, fail, failed, fine, warn
from service.cli.doctor.scene import Scene
from service.errors import ZohoDenied, ZohoError
from service.policy import ZohoMapping
from service.policy.shapes import Module
from service.zoho import envelopes
from service.zoho.crm import Field
from service.zoho.mapping import Zoho
from service.zoho.transport import Call

FIELDS = "CRM: Setup > Customization > Modules and Fields"
LABELS = "Campaigns: Contacts > Contact Fields"
LISTS = "Campaigns: List > Setup > For Developers"
SEGMENTS = "Campaigns: Contacts > Segments"
_NAMES = "correct the name in policies/zoho.toml, or make the field"
_CLONE = re.compile(r"e?mail_?opt_?out", re.IGNORECASE)


def crm_fields(scene: Scene) -> Iterator[Look]:
    """Look at each mapped module: that its fields exist, are of the right type, and can be written."""
    zoho, mapping = scene.zoho.need(), scene.policy.need().zoho
    for module in mapping.crm.modules:
        where = f"{FIELDS} > {module.name}"
        try:
            known = {field.api_name: field for field in zoho.crm.fields(module.name)}
        except ZohoError as error:
            yield failed(error, where)
            continue
        found = list(_module(module, mapping, known, where))
        found += _allowed(scene, module.name, known.get(mapping.crm.opt_out_field), where)
        yield from found
        if not found:
            yield fine(
                f"{module.name}: {mapping.crm.opt_out_field} can be written, "
                f"{len(module.emails)} e-mail fields"
            )


def _module(module: Module, mapping: ZohoMapping, known: Mapping[str, Field], where: str) -> Iterator[Look]:
    crm = mapping.crm
    views = {one.view_field for one in mapping.campaigns.lists}
    wanted = {
        crm.opt_out_field: "boolean",
        **dict.fromkeys(module.emails, "email"),
        **dict.fromkeys(filter(None, (module.country, module.state, crm.mode_field, crm.time_field)), ""),
        **dict.fromkeys(filter(None, views), "boolean"),
    }
    for name, kind in wanted.items():
        field = known.get(name)
        if field is None:
            yield fail(f"{module.name} has no field {name}", _NAMES, where)
        elif kind and field.data_type != kind:
            yield fail(f"{module.name}.{name} is of type {field.data_type}, not {kind}", _NAMES, where)
    if (field := known.get(crm.opt_out_field)) is not None:
        yield from _writable(module.name, field, where)
    for name in known:
        if _CLONE.search(name) and name != crm.opt_out_field:
            yield warn(
                f"{module.name} has a second field of this kind, {name}",
                "make sure that people and automations tick the mapped one, and remove the other",
                where,
            )


def _writable(module: str, field: Field, where: str) -> Iterator[Look]:
    allowed = (field.operation_type or {}).get("api_update", True)
    if field.read_only or not allowed:
        yield fail(
            f"{module}.{field.api_name} cannot be written through the API", "let the API update it", where
        )


def _allowed(scene: Scene, module: str, field: Field | None, where: str) -> Iterator[Look]:
    """Yield a failure if the field is closed to the API user's profile, as far as both can be read."""
    try:
        told: Any = scene.user.need().get("profile")
    except Blocked:
        return
    own = str(told.get("id", "")) if isinstance(told, dict) else ""
    name, profiles = (field.api_name, field.profiles or ()) if field else ("", ())
    for profile in profiles:
        kind = profile.get("permission_type")
        if str(profile.get("id", "")) == own and kind not in (None, "read_write"):
            yield fail(
                f"the API user's profile {profile.get('name')} may not write {module}.{name} ({kind})",
                "give the profile read and write on this field",
                where,
            )


def campaigns_fields(scene: Scene) -> Iterator[Look]:
    """Look at the labels, lists and segments that the mapping names."""
    zoho, campaigns = scene.zoho.need(), scene.policy.need().zoho.campaigns
    labels = set(zoho.campaigns.contact_fields())
    for label in (campaigns.address_label, campaigns.permission_label):
        if label not in labels:
            yield fail(f"contacts have no field with the label {label!r}, letter by letter", _NAMES, LABELS)
    known = {found.key for found in zoho.campaigns.lists()}
    for entry in campaigns.lists:
        if entry.key not in known:
            todo = "correct its key under [[campaigns.lists]] in policies/zoho.toml"
            yield fail(f"there is no list with the key of {entry.name!r}", todo, LISTS)
    for what in ("granted", "refused"):
        yield from _segment(zoho, what, getattr(campaigns, f"{what}_segment"))
    yield fine(f"{len(labels)} contact fields and {len(known)} lists were read")


def _segment(zoho: Zoho, what: str, cvid: str) -> Iterator[Look]:
    endpoint = "getsegmentcontacts"
    params = {"resfmt": "JSON", "cvid": cvid, "fromindex": "1", "range": "1"}
    call = Call(method="GET", path=f"/api/v1.1/{endpoint}", endpoint=endpoint, params=params)
    try:
        envelope = envelopes.read(zoho.transports["campaigns"].send(call), endpoint)
    except ZohoDenied:
        raise
    except ZohoError as error:
        yield fail(f"the segment of {what} could not be read ({error.code})", "look again later", SEGMENTS)
        return
    if not envelope.ok and not envelope.empty(endpoint):
        todo = f"correct {what}_segment under [campaigns] in policies/zoho.toml"
        yield fail(f"there is no segment {cvid} for {what} ({envelope.code})", todo, SEGMENTS)
