WITH ended AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)s::bigint[], %(seqs)s::bigint[], %(statuses)s::text[], %(attempted)s::int[],
                         %(delays)s::float8[], %(errors)s::text[], %(results)s::text[],
                         %(started)s::float8[], %(ended)s::float8[])
           AS e (id, claim_seq, status, attempted, delay, error, result, started_ago, ended_ago)
), held AS MATERIALIZED (
    SELECT t.id FROM scheduled_tasks t
     WHERE t.id = ANY (%(ids)s::bigint[]) AND t.status = 'processing'
     ORDER BY t.id FOR UPDATE SKIP LOCKED
), written AS (
    UPDATE scheduled_tasks t
       SET status = e.status,
           attempts = least(t.attempts::bigint + e.attempted, 2147483647),
           execute_at = CASE WHEN e.delay IS NULL THEN t.execute_at
                             ELSE now() + e.delay * interval '1 second' END,
           original_execute_at = CASE WHEN e.delay IS NULL THEN t.original_execute_at
                                      ELSE coalesce(t.original_execute_at, t.execute_at) END,
           error_message = CASE WHEN e.attempted = 1 OR e.error IS NOT NULL THEN e.error
                                ELSE t.error_message END,
           result = coalesce(e.result::jsonb, t.result),
           started_at = coalesce(now() - e.started_ago * interval '1 second', t.started_at),
           completed_at = CASE WHEN e.status = 'completed' THEN now() - e.ended_ago * interval '1 second' END,
           updated_at = now()
      FROM ended e
     WHERE t.id = e.id AND t.id = ANY (ARRAY(SELECT id FROM held))
       AND t.claim_seq = e.claim_seq AND t.status = 'processing'
    RETURNING t.id, t.claim_seq
)
SELECT e.id, e.claim_seq,
       EXISTS (SELECT FROM scheduled_tasks t
                WHERE t.id = e.id AND t.claim_seq = e.claim_seq AND t.status = 'processing') AS still_ours
  FROM ended e
 WHERE NOT EXISTS (SELECT FROM written w WHERE w.id = e.id AND w.claim_seq = e.claim_seq)
