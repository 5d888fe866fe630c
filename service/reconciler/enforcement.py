"""What one enforcement looks like in the ledger: what was written where, the answer, what was read back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.consent import Category, SubjectId
from service.errors import KeyReused, ServiceError
from service.intake import Claim, Recorded
from service.ledger.canonical import Json
from service.policy import PolicySet

STOPS = "reconciler"
PERMITS = "reconciler-permit"
"""Sources of entries about what was written: who was stopped, and who was let go after an approval."""

CRM = "crm:"
CAMPAIGNS = "campaigns"

CONFIRMED = "confirmed"
GONE = "gone"
DIFFERS = "differs"
"""What a read-back showed: the value that was written, nobody any more, or something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforced:
    """One write and its read-back; `target` is `crm:<module>/<record id>` or `campaigns`.

    `key` names the write for ever: the run or task that asked for it, and the target. `cause` is the
    entry that decided. Exactly one of `subject` and `address` (folded) says whom it is about.
    `approved` is the digest of the approved plan and by whom, where somebody was let go.
    """

    key: str
    target: str
    code: str
    answer_sha256: bytes
    read_back: str
    cause: int | None
    written_at: datetime
    subject: SubjectId | None = None
    address: str | None = None
    approved: tuple[str, tuple[str, ...]] | None = None

    def claim(self, policy: PolicySet, received_at: datetime) -> Claim:
        """Return the claim that records this enforcement."""
        in_crm = self.target.startswith(CRM)
        mapping, permits = policy.zoho, self.approved is not None
        crm_value = "false" if permits else "true"
        campaigns_value = mapping.campaigns.granted if permits else mapping.campaigns.refused
        return Claim(
            category=Category.ENFORCEMENT,
            source=PERMITS if permits else STOPS,
            key=self.key,
            subject=self.subject,
            address=self.address,
            purpose=mapping.governs,
            occurred_at=min(self.written_at, received_at),
            received_at=received_at,
            evidence={
                "target": self.target,
                "field": mapping.crm.opt_out_field if in_crm else mapping.campaigns.permission_label,
                "to": crm_value if in_crm else campaigns_value,
                "code": self.code,
                "answer_sha256": self.answer_sha256.hex(),
                "read_back": self.read_back,
                "cause": self.cause,
                **self._approval(),
            },
            enforce=False,
        )

    def _approval(self) -> dict[str, Json]:
        if self.approved is None:
            return {}
        plan, people = self.approved
        return {"plan": plan, "approved_by": ", ".join(people)}


def require_recorded(results: Sequence[Recorded | ServiceError]) -> None:
    """Raise the first error of recording enforcements, unless the entry exists from an earlier attempt."""
    for result in results:
        if isinstance(result, ServiceError) and not isinstance(result, KeyReused):
            raise result
