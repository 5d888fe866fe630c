"""All that is wrong with a policy set, each with file and line, and its rules' own examples. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from service.consent.proving import HISTORY, PROVING, SPOILING
from service.policy import files as reading
from service.policy.examples import failures
from service.policy.files import Files, Problem, problem
from service.policy.judging import demanded, served
from service.policy.law import Deadline, Evidence, Jurisdiction
from service.policy.shapes import FORM_BRINGS, Controller, Enforcement, Form, Purpose, Strict, ZohoMapping


class Purposes(Strict, frozen=True, kw_only=True):
    """`purposes.toml`: who is responsible, what for, and by which forms people are asked."""

    controller: Controller
    purposes: dict[str, Purpose]
    forms: dict[str, Form]


HOUSE: Mapping[str, type[Strict]] = {
    "purposes.toml": Purposes,
    "zoho.toml": ZohoMapping,
    "enforcement.toml": Enforcement,
}

OTHERS = ("log.toml",)
"""Files that another room reads and checks."""


def check(files: Files) -> list[Problem]:
    """Return everything that is wrong with a set: each file by itself, then all together.

    Files that are right by themselves are compared only where all are: what is missing in one of them
    would look like a contradiction.
    """
    found, laws = [*_strangers(files)], {}
    for name, kind in HOUSE.items():
        found += reading.problems(files, name, kind)
    for name in reading.law_files(files):
        if wrong := list(reading.problems(files, name, Jurisdiction)):
            found += wrong
            continue
        law = laws[name] = reading.read_law(files, name)
        found += [*_unsigned(files, name, law), *_placeless(files, name, law), *_examples(files, name, law)]
        found += _untellable(files, name, law)
    readable = all(name in files and not any(one.file == name for one in found) for name in HOUSE)
    if readable and len(laws) == len(reading.law_files(files)):
        found += _compared(files, laws)
    return found


def _compared(files: Files, laws: Mapping[str, Jurisdiction]) -> Iterator[Problem]:
    purposes = reading.decode(files, "purposes.toml", Purposes)
    zoho = reading.decode(files, "zoho.toml", ZohoMapping)
    enforcement = reading.decode(files, "enforcement.toml", Enforcement)
    yield from contradictions(files, purposes, zoho, enforcement, laws)
    codes = {"default", *(law.code for law in laws.values())}
    for where in sorted(enforcement.without_consent.keys() - codes):
        message = f"no file of jurisdictions/ has the code {where!r}, so this table holds for nobody"
        yield problem(files, "enforcement.toml", ("without_consent", where), message)


def _strangers(files: Files) -> Iterator[Problem]:
    """Yield files that nothing reads: most likely a name is misspelt."""
    for name in files:
        if name not in (*HOUSE, *OTHERS) and not name.startswith(reading.LAWS):
            read = ", ".join((*HOUSE, *OTHERS))
            yield Problem(file=name, line=0, message=f"is read by nothing; the files of a set are {read}")


def contradictions(
    files: Files,
    purposes: Purposes,
    zoho: ZohoMapping,
    enforcement: Enforcement,
    laws: Mapping[str, Jurisdiction],
) -> Iterator[Problem]:
    """Yield what the files say against each other; a set with any of it is never used."""
    for name, form in purposes.forms.items():
        if form.purpose not in purposes.purposes:
            path = ("forms", name, "purpose")
            yield problem(files, "purposes.toml", path, _undeclared(f"form {name}", form.purpose))
        yield from _forms(files, name, form, laws)
    for number, entry in enumerate(zoho.campaigns.lists):
        if entry.purpose not in purposes.purposes:
            where = ("campaigns", "lists", number, "purpose")
            yield problem(files, "zoho.toml", where, _undeclared(f"list {entry.name}", entry.purpose))
    if zoho.governs not in purposes.purposes:
        yield problem(files, "zoho.toml", ("governs",), _undeclared("zoho.toml governs", zoho.governs))
    if "default" not in enforcement.without_consent:
        message = "enforcement.toml needs a table [without_consent.default]"
        yield problem(files, "enforcement.toml", ("without_consent",), message)
    if not any(law.counted for law in laws.values()):
        yield Problem(
            file=reading.LAWS,
            line=0,
            message="holds no deadline that counts, so that no withdrawal would have one; put back the files "
            "that ship with the service",
        )
    yield from _doubles(files, laws)


def _forms(files: Files, name: str, form: Form, laws: Mapping[str, Jurisdiction]) -> Iterator[Problem]:
    """Yield places that a form serves and no file knows, and evidence that no post of a form could bring."""
    by_code = {law.code: law for law in laws.values()}
    for number, code in enumerate(form.serves):
        if code not in by_code:
            message = f"form {name} serves {code!r}; no file of jurisdictions/ has this code"
            yield problem(files, "purposes.toml", ("forms", name, "serves", number), message)
    if strange := sorted(set(form.required_evidence) - FORM_BRINGS):
        message = f"form {name}: no post can bring {strange[0]!r}; what it can is {_list(FORM_BRINGS)}"
        yield problem(files, "purposes.toml", ("forms", name, "required_evidence"), message)
    rules = [rule for law in served(form.serves, by_code) for rule in law.rules]
    for asked, rule in demanded(rules, None).items():
        if asked not in FORM_BRINGS:
            message = (
                f"form {name}: {rule} demands {asked!r}, which no post of a form can bring; "
                "name in serves the places whose people it asks"
            )
            yield problem(files, "purposes.toml", ("forms", name), message)


def _undeclared(where: str, purpose: str) -> str:
    return f"{where} names the purpose {purpose!r}, which purposes.toml does not declare"


def _doubles(files: Files, laws: Mapping[str, Jurisdiction]) -> Iterator[Problem]:
    """Yield codes, names, domains and ids that stand for two things."""
    seen: dict[tuple[str, str], str] = {}
    codes = {law.code for law in laws.values()}
    for name, law in laws.items():
        if law.within and law.within not in codes:
            yield problem(files, name, ("within",), f"no file has the code {law.within!r}")
        told = [("code", "code", law.code)]
        told += (
            [("country", "names", one.casefold()) for one in (law.code, *law.names)]
            if not law.domains
            else []
        )
        told += [("domain", "tlds", one) for one in law.tlds] + [
            ("mailbox", "domains", one) for one in law.domains
        ]
        for kind, key, value in told:
            first = seen.setdefault((kind, value), name)
            if first != name:
                message = f"{kind} {value!r} stands in policies/{first} already"
                yield problem(files, name, (key,), message)
        for number, rule in enumerate(law.rules):
            first = seen.setdefault(("rule", rule.id), f"{name} {number}")
            if first != f"{name} {number}":
                message = f"rule {rule.id!r} stands in policies/{first.partition(' ')[0]} already"
                yield problem(files, name, ("rules", number, "id"), message)


def _unsigned(files: Files, name: str, law: Jurisdiction) -> Iterator[Problem]:
    """Yield what makes a rule unfit to be switched on."""
    for number, rule in enumerate(law.rules):
        where = ("rules", number)
        if rule.status == "active" and not rule.verified_by.strip():
            message = f"rule {rule.id}: an active rule names in verified_by who read it, and when"
            yield problem(files, name, (*where, "status"), message)
        if rule.status == "active" and not rule.in_force:
            message = (
                f"rule {rule.id}: read from memory it may only warn; read its source before it is active"
            )
            yield problem(files, name, (*where, "status"), message)
        if rule.effective_from and rule.effective_until and rule.effective_until <= rule.effective_from:
            message = f"rule {rule.id}: effective_until lies before effective_from"
            yield problem(files, name, (*where, "effective_until"), message)
        if not rule.tests:
            message = f"rule {rule.id}: give at least one example in [[rules.tests]]"
            yield problem(files, name, where, message)


def _placeless(files: Files, name: str, law: Jurisdiction) -> Iterator[Problem]:
    """Yield business days that nobody can count: whose holidays, and in which zone, is not told."""
    for number, rule in enumerate(law.rules):
        if isinstance(rule, Deadline) and rule.business_days and not (law.calendar and law.zones):
            message = f"rule {rule.id}: business days need the calendar and the zones of this file"
            yield problem(files, name, ("rules", number, "business_days"), message)


def _untellable(files: Files, name: str, law: Jurisdiction) -> Iterator[Problem]:
    """Yield evidence that a rule asks about and nobody can tell: it could never be met, or never act."""
    for number, rule in enumerate(law.rules):
        if not isinstance(rule, Evidence):
            continue
        known = (("demands", rule.demands, PROVING), ("forbids", rule.forbids, SPOILING | HISTORY))
        for key, told, names in known:
            if strange := sorted(set(told) - names):
                message = f"rule {rule.id}: no evidence is called {strange[0]!r}; those are {_list(names)}"
                yield problem(files, name, ("rules", number, key), message)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _examples(files: Files, name: str, law: Jurisdiction) -> Iterator[Problem]:
    for number, rule in enumerate(law.rules):
        for which, message in failures(rule, law.days):
            yield problem(files, name, ("rules", number, "tests", which), f"rule {rule.id}: {message}")
