"""What a worker needs of the tables; `sql/ddl.sql` is what creates them."""

from collections.abc import Collection, Mapping

TABLE = "scheduled_tasks"
# The tables beside it, each under the name by which a statement addresses it.
BESIDE = {
    "attempts": "scheduled_tasks_attempts",
    "paused": "scheduled_tasks_paused",
    "presence": "scheduled_tasks_presence",
}

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


def complaint(found: Mapping[str, str], beside: Collection[str]) -> str | None:
    """What is wrong with the columns (name: type) of the table and the tables beside it, or None.

    Users may add columns of their own.
    """
    wrong = [
        f"{name} is {found[name]}, not {kind}" if name in found else f"{name} is missing"
        for name, kind in COLUMNS.items()
        if found.get(name) != kind
    ]
    if not wrong:
        missing = [name for name in BESIDE.values() if name not in beside]
        return f"{', '.join(missing)} is missing; at-worker init-db upgrades the schema" if missing else None
    more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
    return (
        f"the columns of {TABLE} are not those of this version ({'; '.join(wrong[:4])}{more});"
        " at-worker init-db upgrades the table"
    )
