"""Tables of the vault, which can be erased: the directory, keys of persons, payloads."""

from sqlalchemy import Column, LargeBinary, Named, PrimaryKeyConstraint, Table, Text, TypedColumns

from service.db.columns import Int, Small, metadata


class SubjectColumns(TypedColumns):
    """The directory: keyed hash of an address to a person (tlog.md 3.4). `address` is sealed."""

    sub: Named[bytes] = Column(LargeBinary, primary_key=True)
    address_index: Named[bytes] = Column(LargeBinary, nullable=False, unique=True)
    dk: Named[bytes] = Column(LargeBinary, nullable=False, unique=True)
    r: Named[bytes] = Column(LargeBinary, nullable=False)
    version: Named[int] = Column(Small, nullable=False)
    opened_idx: Named[int] = Column(Int, nullable=False)
    address: Named[bytes] = Column(LargeBinary, nullable=False)


class SubjectKeyColumns(TypedColumns):
    """Per-person keys, wrapped by the key-encryption key that lives outside the database."""

    sub: Named[bytes] = Column(LargeBinary, primary_key=True)
    kek_id: Named[str] = Column(Text, nullable=False)
    wrapped: Named[bytes] = Column(LargeBinary, nullable=False)


class PayloadColumns(TypedColumns):
    """Sealed evidence of one entry: nonce and AES-256-GCM ciphertext, bound to the leaf hash."""

    log_id: Named[int] = Column(Small)
    idx: Named[int] = Column(Int)
    sub: Named[bytes] = Column(LargeBinary, nullable=False, index=True)
    sealed: Named[bytes] = Column(LargeBinary, nullable=False)


subject = Table("subject", metadata, SubjectColumns)
subject_key = Table("subject_key", metadata, SubjectKeyColumns)
payload = Table("payload", metadata, PayloadColumns, PrimaryKeyConstraint("log_id", "idx"))
