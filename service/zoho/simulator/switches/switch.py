"""One open question, and the answers that the simulator can give to it."""

from dataclasses import dataclass

Value = bool | int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One open question: the default answer, the others (none: any of the type), why it is open.

    `facts` is the file and section of the facts that leave it open.
    """

    default: Value
    others: tuple[Value, ...] = ()
    why: str
    facts: str

    def accepts(self, value: object) -> bool:
        """Return whether `value` is one of the answers that the simulator can give."""
        if type(value) is not type(self.default):
            return False
        return not self.others or value in (self.default, *self.others)

    def schema(self) -> dict[str, object]:
        """Return the JSON schema of its answers."""
        kind = {bool: "boolean", int: "integer", str: "string"}[type(self.default)]
        told = f"{self.why[0].upper()}{self.why[1:]}. Facts: {self.facts}."
        schema: dict[str, object] = {"type": kind, "default": self.default, "description": told}
        return {**schema, "enum": [self.default, *self.others]} if self.others else schema
