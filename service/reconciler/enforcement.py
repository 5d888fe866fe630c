"""What one enforcement looks like in the ledger: what was written where, the answer, what was read back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.consent import Category, SubjectId
from service.errors import KeyReused, ServiceError
from service.intake import Claim, Recorded
from service.policy import PolicySet

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

    def claim(self, policy: PolicySet, received_at: datetime) -> Claim:
        """Return the claim that records this enforcement."""
        in_crm = self.target.startswith(CRM)
        mapping = policy.zoho
        return Claim(
            category=Category.ENFORCEMENT,
            source="reconciler",
            key=self.key,
            subject=self.subject,
            address=self.address,
            purpose=mapping.governs,
            occurred_at=min(self.written_at, received_at),
            received_at=received_at,
            evidence={
                "target": self.target,
                "field": mapping.crm.opt_out_field if in_crm else mapping.campaigns.permission_label,
                "to": "true" if in_crm else mapping.campaigns.refused,
                "code": self.code,
                "answer_sha256": self.answer_sha256.hex(),
                "read_back": self.read_back,
                "cause": self.cause,
            },
            enforce=False,
        )


def require_recorded(results: Sequence[Recorded | ServiceError]) -> None:
    """Raise the first error of recording enforcements, unless the entry exists from an earlier attempt."""
    for result in results:
        if isinstance(result, ServiceError) and not isinstance(result, KeyReused):
            raise result
