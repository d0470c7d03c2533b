"""The statements about claims that are held: extend them, and give back those that nobody knows of."""

from at_worker.store.quarantine import Choosing
from at_worker.store.settling import LEFT, OURS

BEAT = """
WITH held AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)s::bigint[], %(seqs)s::bigint[]) AS h (id, claim_seq)
), free AS MATERIALIZED (
    SELECT t.id FROM {tasks} t
     WHERE t.id = ANY (%(ids)s::bigint[]) AND t.status = 'processing'
     ORDER BY t.id FOR UPDATE SKIP LOCKED
), beaten AS (
    UPDATE {tasks} t SET updated_at = now()
      FROM held h
     WHERE t.id = h.id AND t.id = ANY (ARRAY(SELECT id FROM free))
       AND t.claim_seq = h.claim_seq AND t.status = 'processing' AND {ours}
    RETURNING t.id, t.claim_seq
)
{left}
""".replace("{left}", LEFT.replace("{given}", "held").replace("{done}", "beaten")).replace("{ours}", OURS)

# A claim whose reply was lost on the way: the holder's name carries the boot id, so it is nobody else's.
HAND_BACK_UNHELD = Choosing.of(
    """
    SELECT u.id FROM {tasks} u
     WHERE u.status = 'processing' AND u.locked_by = %(holder)s
       AND NOT EXISTS (SELECT FROM unnest(%(held)s::bigint[], %(seqs)s::bigint[]) AS h (id, claim_seq)
                        WHERE h.id = u.id AND h.claim_seq = u.claim_seq)
       AND u.id <> ALL (%(refused)s::bigint[])
     ORDER BY u.id FOR UPDATE SKIP LOCKED
    """,
    """
    UPDATE {tasks} t SET status = 'pending', updated_at = now() WHERE t.id = ANY ({ids}) RETURNING t.id
    """,
)
