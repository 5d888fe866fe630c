"""Ask others outside to attest the log: witnesses that cosign it, authorities that say when it existed.

Beside `zoho` the only room that speaks HTTP to others. It sends nobody anything but checkpoints and
hashes of them: the world learns how long the log is and what its root is. What comes back is checked
before it is kept (`service.ledger.anchors`), and nobody's silence stops the ledger: `Anchors.attend` never
raises for somebody else's fault.

Start with `anchors.Anchors`.
"""
