"""What a bundle was found to show about its completeness, and how that is told to people. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What holds: all `events` of the subjects shown are here, as of a log of `size` entries.

    `addressed`: it was checked with the directory key that the address leads to these subjects and to
    no others. `closed` counts identities of the address that are not opened, as after an erasure.
    """

    size: int
    covered: int
    events: int
    subjects: int
    closed: int
    addressed: bool

    @property
    def complete(self) -> bool:
        """Return whether this is everything about the address."""
        return self.addressed and self.closed == 0

    def words(self) -> str:
        """Return the finding as one sentence for people."""
        if not self.addressed:
            return self._without_key()
        if self.closed:
            return (
                f"not shown: completeness. {self.closed} identities of this address are closed (as after "
                f"erasure), so their entries cannot be told; all {self.events} of the open ones are here."
            )
        if not self.subjects:
            return f"complete: this address was not known to the log when it had {self.size} entries."
        return (
            f"complete: all {self.events} entries about this address among the {self.size} of the log are "
            f"here (the index covers the first {self.covered}, every later one was looked through)."
        )

    def _without_key(self) -> str:
        if not self.subjects:
            return (
                "not shown: completeness (whether the directory has the address can only be checked with the "
                "directory key, which is not here, or the address is not in its normal form)."
            )
        return (
            f"complete for the person shown: all {self.events} entries among {self.size} are here. "
            "Not shown: completeness for the address (that it leads to nobody else); the directory key tells."
        )
