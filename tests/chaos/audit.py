"""What became of the rows: every change of every task, kept by a trigger, whoever made it."""

from dataclasses import dataclass

from tests.tables import Table

# Heartbeats and moved instants are left out, but of a finished row nothing is.
INSTALL = """
CREATE TABLE audit (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at float8 NOT NULL DEFAULT extract(epoch FROM clock_timestamp()),
    task bigint NOT NULL,
    old_status text, old_claim bigint, old_attempts int,
    new_status text, new_claim bigint, new_attempts int,
    boot_id text, error text
);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (task, old_status, old_claim, old_attempts,
                       new_status, new_claim, new_attempts, boot_id, error)
    VALUES (coalesce(NEW.id, OLD.id), OLD.status, OLD.claim_seq, OLD.attempts,
            NEW.status, NEW.claim_seq, NEW.attempts,
            coalesce(substring(NEW.locked_by FROM '[^/]*$'), 'nobody'), NEW.error_message);
    RETURN NULL;
END $$;
CREATE TRIGGER audit_insert AFTER INSERT OR DELETE ON scheduled_tasks
    FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TRIGGER audit_update AFTER UPDATE ON scheduled_tasks
    FOR EACH ROW WHEN (
        OLD.status IN ('completed', 'failed', 'cancelled')
        OR (OLD.status, OLD.claim_seq, OLD.attempts)
           IS DISTINCT FROM (NEW.status, NEW.claim_seq, NEW.attempts))
    EXECUTE FUNCTION audit();
INSERT INTO audit (task, new_status, new_claim, new_attempts, boot_id)
SELECT id, status, claim_seq, attempts, coalesce(substring(locked_by FROM '[^/]*$'), 'nobody')
  FROM scheduled_tasks;
"""
# Claimed by hand, or by programs that were there before.
NOBODY = "nobody"
POSSIBLE = """
SELECT FROM pg_attribute
 WHERE attrelid = 'scheduled_tasks'::regclass AND attname = 'claim_seq' AND to_regclass('audit') IS NULL
"""

CHANGES = """
SELECT task, at, old_status, old_claim, old_attempts, new_status, new_claim, new_attempts, boot_id, error
  FROM audit ORDER BY seq
"""

ROWS = "SELECT id, task_uid::text AS uid, status, claim_seq AS claim, attempts FROM scheduled_tasks"


@dataclass(frozen=True, slots=True)
class State:
    """What the audit compares of a row before and after a change."""

    status: str
    claim: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Change:
    """A change at an instant in seconds since the epoch; a new row has no `old`, a deleted one no `new`."""

    task: int
    at: float
    old: State | None
    new: State | None
    boot_id: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is at the end."""

    task: int
    uid: str
    state: State


def install(table: Table) -> None:
    """Begin to keep the changes; rows that are there count as new. A plain table has to be upgraded first."""
    if table.sql(POSSIBLE):
        table.sql(INSTALL)


def changes(table: Table) -> list[Change]:
    """All changes up to now; those of one task in their order."""
    return [
        Change(
            row["task"],
            row["at"],
            _state(row["old_status"], row["old_claim"], row["old_attempts"]),
            _state(row["new_status"], row["new_claim"], row["new_attempts"]),
            row["boot_id"],
            row["error"],
        )
        for row in table.sql(CHANGES)
    ]


def rows(table: Table) -> list[Row]:
    return [
        Row(row["id"], row["uid"], State(row["status"], row["claim"], row["attempts"]))
        for row in table.sql(ROWS)
    ]


def _state(status: str | None, claim: int | None, attempts: int | None) -> State | None:
    if status is None or claim is None or attempts is None:
        return None
    return State(status, claim, attempts)
