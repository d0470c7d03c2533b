"""What a worker needs of the table; `sql/ddl.sql` is what creates it."""

from collections.abc import Mapping

TABLE = "scheduled_tasks"

COLUMNS = {
    "id": "bigint",
    "task_type": "text",
    "payload": "jsonb",
    "execute_at": "timestamp with time zone",
    "status": "text",
    "attempts": "integer",
    "max_attempts": "integer",
    "error_message": "text",
    "created_at": "timestamp with time zone",
    "updated_at": "timestamp with time zone",
    "completed_at": "timestamp with time zone",
    "priority": "smallint",
    "expires_at": "timestamp with time zone",
    "retry_delays": "interval[]",
    "original_execute_at": "timestamp with time zone",
    "dedupe_key": "text",
    "task_uid": "uuid",
    "context": "jsonb",
    "result": "jsonb",
    "locked_by": "text",
    "started_at": "timestamp with time zone",
    "claim_seq": "bigint",
}


def complaint(found: Mapping[str, str]) -> str | None:
    """What is wrong with the columns (name: type) of a table, or None; users may add columns of their own."""
    wrong = [
        f"{name} is {found[name]}, not {kind}" if name in found else f"{name} is missing"
        for name, kind in COLUMNS.items()
        if found.get(name) != kind
    ]
    if not wrong:
        return None
    more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
    return (
        f"the columns of {TABLE} are not those of this version ({'; '.join(wrong[:4])}{more});"
        " at-worker init-db upgrades the table"
    )
