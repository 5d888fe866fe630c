"""The control plane, for tests and demos alone: what happened to whom, and what is really the case.

Everything under `/_control` speaks JSON, needs no token, costs nothing and never breaks.
"""

from typing import Literal

import msgspec
from litestar.types import Method

from service.zoho.simulator import chaos, console, mischief, misfits, oauth, sightings, sync
from service.zoho.simulator.campaigns import events, transmissions, workflows
from service.zoho.simulator.crm.fields import MODULES, Kind
from service.zoho.simulator.crm.records import Author, change, of_address, user_number
from service.zoho.simulator.faults import Fault
from service.zoho.simulator.kinds import FEWEST
from service.zoho.simulator.plant import plant
from service.zoho.simulator.switches import SWITCHES, Value
from service.zoho.simulator.wire import AnswerError, Call, Endpoint, Handler, Reply, json_reply
from service.zoho.simulator.world import World


class Someone(msgspec.Struct, forbid_unknown_fields=True):
    """A body that names a person."""

    email: str


class Bounced(Someone, forbid_unknown_fields=True):
    """A mail to this person bounces."""

    type: Literal["hard", "soft"] = "hard"


class Confirmed(Someone, forbid_unknown_fields=True):
    """This person follows the link in the confirmation mail."""

    listkey: str


class Transmitted(msgspec.Struct, forbid_unknown_fields=True):
    """Something happens to transactional mails of these addresses, told in one body."""

    emails: list[str]
    action: Literal["email_delivered", "bounce", "spam", "email_open", "email_click", "unsubscribed"]
    bounce_type: Literal["hard bounce", "soft bounce"] = "hard bounce"


class Ticked(Someone, forbid_unknown_fields=True):
    """A user edits every CRM record of this address by hand."""

    fields: dict[str, bool | str | None]
    by: str = "Petra Lindqvist"


class Broken(msgspec.Struct, forbid_unknown_fields=True):
    """The next requests that begin with `match` go wrong."""

    match: str
    how: Literal[
        "drop_before", "drop_after", "reset", "status", "truncate", "latency", "codes", "capitals", "short"
    ]
    times: int = 1
    status: int = 503
    body: str = ""
    retry_after: str = ""
    latency_ms: int = 0


class Planted(msgspec.Struct, forbid_unknown_fields=True):
    """The organisation starts over; what is not said stays as it was."""

    contacts: int | None = None
    seed: int | None = None


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """The clock jumps forward."""

    advance_s: float


def answer(world: World, endpoint: Endpoint, call: Call) -> Reply:
    """Answer without any gate; a body that cannot be read is a plain 400."""
    try:
        return endpoint.handle(world, call)
    except msgspec.DecodeError as error:
        return json_reply({"error": str(error)}, status=400)


def unsubscribe(world: World, call: Call) -> Reply:
    """Let a person click unsubscribe."""
    email = _email(msgspec.json.decode(call.body, type=Someone))
    return _happened(email, done=events.unsubscribe(world, email))


def complain(world: World, call: Call) -> Reply:
    """Let a person mark the mail as spam."""
    email = _email(msgspec.json.decode(call.body, type=Someone))
    return _happened(email, done=events.complain(world, email))


def bounce(world: World, call: Call) -> Reply:
    """Let a mail bounce."""
    body = msgspec.json.decode(call.body, type=Bounced)
    return _happened(_email(body), done=events.bounce(world, _email(body), body.type))


def confirm(world: World, call: Call) -> Reply:
    """Let a person confirm a subscription."""
    body = msgspec.json.decode(call.body, type=Confirmed)
    return _happened(_email(body), done=events.confirm(world, _email(body), body.listkey))


def transmission(world: World, call: Call) -> Reply:
    """Let something happen to mails that were sent through the Email API."""
    body = msgspec.json.decode(call.body, type=Transmitted)
    emails = [email.strip().lower() for email in body.emails]
    transmissions.happen(world, body.action, emails, bounce_type=body.bounce_type)
    return json_reply({"ok": True})


def crm_set(world: World, call: Call) -> Reply:
    """Let a user change every CRM record of an address by hand."""
    body = msgspec.json.decode(call.body, type=Ticked)
    author = Author(user=user_number(world, body.by), source="crm_ui", mode="Manual")
    found = of_address(world, _email(body))
    for module, number in found:
        change(world, module, number, _columns(module, body.fields), author)
    world.workflow_runs += found
    return _happened(_email(body), done=bool(found))


def reset(world: World, _call: Call) -> Reply:
    """Forget counts, credits, windows, locks, faults and switched switches; people stay as they are."""
    world.settle()
    return json_reply({"ok": True})


def replant(world: World, call: Call) -> Reply:
    """Begin anew with a fresh organisation, of another size or seed if the body says so; tokens die."""
    body = msgspec.json.decode(call.body or b"{}", type=Planted)
    contacts = world.contacts if body.contacts is None else body.contacts
    if contacts < FEWEST:
        return json_reply({"error": f"an organisation holds at least {FEWEST} people"}, status=400)
    world.forget()
    world.contacts = contacts
    world.seed = world.seed if body.seed is None else body.seed
    plant(world, now=world.clock.seconds())
    return sightings.truth(world, call)


def break_(world: World, call: Call) -> Reply:
    """Make the next matching requests go wrong."""
    body = msgspec.json.decode(call.body, type=Broken)
    world.faults.waiting.append(Fault(**msgspec.structs.asdict(body)))
    return json_reply({"ok": True})


def switches(world: World, call: Call) -> Reply:
    """Answer all switches; a POST with `{name: value}` sets some first."""
    if call.method == "POST":
        wanted = msgspec.json.decode(call.body, type=dict[str, Value])
        for name, value in wanted.items():
            if name not in SWITCHES or not SWITCHES[name].accepts(value):
                return json_reply({"error": f"no such switch or value: {name} = {value!r}"}, status=400)
        world.switches.update(wanted)
    return json_reply(
        {
            name: {
                "value": world.switches[name],
                "default": switch.default,
                "others": switch.others,
                "why": switch.why,
                "facts": switch.facts,
            }
            for name, switch in SWITCHES.items()
        }
    )


def clock(world: World, call: Call) -> Reply:
    """Answer the simulator's time; a POST with `{"advance_s": n}` moves it first."""
    if call.method == "POST":
        world.clock.ahead_s += msgspec.json.decode(call.body, type=Advance).advance_s
    return json_reply({"now": world.clock.seconds(), "ahead_s": world.clock.ahead_s})


def _email(body: Someone) -> str:
    return body.email.strip().lower()


def _happened(email: str, *, done: bool) -> Reply:
    if done:
        return json_reply({"ok": True})
    return json_reply(
        {"error": f"nothing to do for {email}: no such person there, or nothing waits"}, status=404
    )


def _columns(module: str, values: dict[str, bool | str | None]) -> dict[str, object]:
    fields = MODULES[module]
    unknown = [name for name in values if name not in fields or fields[name].read_only]
    if unknown:
        raise AnswerError(
            json_reply({"error": f"{module} has no field to write called {unknown[0]}"}, status=400)
        )
    return {n: int(bool(v)) if fields[n].kind is Kind.BOOLEAN else v for n, v in values.items()}


def _row(path: str, handle: Handler, body: type[msgspec.Struct] | None = None, *methods: Method) -> Endpoint:
    """Return a row of the control plane: a POST if it takes a body, else a GET, unless said otherwise."""
    usual: tuple[Method, ...] = ("GET",) if body is None else ("POST",)
    return Endpoint(methods=methods or usual, path=f"/_control{path}", handle=handle, body=body)


_ACTIONS = (
    _row("/campaigns/unsubscribe", unsubscribe, Someone),
    _row("/campaigns/complain", complain, Someone),
    _row("/campaigns/bounce", bounce, Bounced),
    _row("/campaigns/confirm", confirm, Confirmed),
    _row("/campaigns/workflow", workflows.control, workflows.Workflow, "GET", "POST"),
    _row("/emailapi/event", transmission, Transmitted),
    _row("/crm/set", crm_set, Ticked),
    _row("/crm/delete", mischief.delete, mischief.Deleted),
    _row("/crm/merge", mischief.merge, mischief.Merged),
    _row("/crm/lock", mischief.lock, mischief.Locked),
    _row("/crm/bounce", mischief.mail_bounce, mischief.MailBounced),
    _row("/crm/unique", mischief.unique, mischief.Unique),
    _row("/crm/restrict", mischief.restrict, mischief.Unique),
    _row("/crm/remove", mischief.take_away, mischief.Removed),
    _row("/crm/field", misfits.crm_field, misfits.CrmMisfit, "GET", "POST"),
    _row("/campaigns/field", misfits.campaigns_field, misfits.CampaignsMisfit, "GET", "POST"),
    _row("/oauth/code", oauth.self_client, oauth.SelfClient),
    _row("/reset", reset, None, "POST"),
    _row("/replant", replant, Planted),
    _row("/break", break_, Broken),
    _row("/chaos", chaos.control, chaos.Profile, "GET", "POST"),
    _row("/sync", sync.control, sync.Sync, "GET", "POST"),
    _row("/switches", switches, None, "GET", "POST"),
    _row("/clock", clock, Advance, "GET", "POST"),
)
_VIEWS = (
    _row("", console.page),
    _row("/truth", sightings.truth),
    _row("/truth/{key:str}", sightings.truth_of),
    _row("/person", sightings.person, Someone, "GET", "POST"),
    _row("/meter", sightings.meter),
    _row("/state", sightings.state),
    _row("/deliveries", sightings.deliveries),
    _row("/requests", console.requests),
)
_DOCUMENT = console.openapi(_VIEWS + _ACTIONS)


def document(_world: World, _call: Call) -> Reply:
    """Answer the OpenAPI document of everything here."""
    return json_reply(_DOCUMENT)


ENDPOINTS = (*_VIEWS, *_ACTIONS, _row("/openapi.json", document))
