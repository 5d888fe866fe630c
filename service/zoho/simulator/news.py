"""What just happened to CRM records, collected during one call so that its watchers hear of it at once."""

from dataclasses import dataclass
from typing import Literal

Operation = Literal["insert", "update", "delete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One record that was added, changed or deleted; `values` are the changed fields, as CRM shows them."""

    module: str
    record_id: int
    operation: Operation
    values: dict[str, object]
    source: str
    user: int
