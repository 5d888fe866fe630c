"""The mirrors stand in the order of their keys on SQLite: one look-up finds a row instead of two."""

from alembic import op

revision = "0024"
down_revision = "0023"

MIRRORS = {
    "crm_record": "module, record_id",
    "crm_address": "module, record_id, address_index",
    "contact": "address_index",
    "member": "list_name, address_index",
}


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table, key in MIRRORS.items():
            _rebuild(table, key)


def _rebuild(table: str, key: str) -> None:
    """Copy a table into one without a rowid, with the same columns and the same indexes."""
    tx = op.get_bind()
    definition = "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type = ? AND sql IS NOT NULL"
    made = tx.exec_driver_sql(definition, (table, "table")).scalar_one()
    indexes = tx.exec_driver_sql(definition, (table, "index")).scalars().all()
    op.rename_table(table, f"{table}_before")
    tx.exec_driver_sql(f"{made} WITHOUT ROWID")
    tx.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM {table}_before ORDER BY {key}")  # noqa: S608  # our own names
    op.drop_table(f"{table}_before")
    for index in indexes:
        tx.exec_driver_sql(index)
