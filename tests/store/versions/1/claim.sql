WITH RECURSIVE step AS (
    (SELECT t.task_type, t.priority FROM scheduled_tasks t
      WHERE t.status = 'pending' ORDER BY t.task_type, t.priority LIMIT 1)
    UNION ALL
    SELECT next.task_type, next.priority
      FROM step CROSS JOIN LATERAL (
        SELECT t.task_type, t.priority FROM scheduled_tasks t
         WHERE t.status = 'pending' AND (t.task_type, t.priority) > (step.task_type, step.priority)
         ORDER BY t.task_type, t.priority LIMIT 1) next
), lane AS MATERIALIZED (
    SELECT task_type, priority,
           (row_number() OVER types + %(turn)s) %% count(*) OVER (PARTITION BY priority) AS place
      FROM step
     WHERE %(types)s::text[] IS NULL OR task_type = ANY (%(types)s::text[])
    WINDOW types AS (PARTITION BY priority ORDER BY task_type)
), due AS MATERIALIZED (
    SELECT first.id
      FROM (SELECT task_type, priority FROM lane ORDER BY priority DESC, place) AS lane
     CROSS JOIN LATERAL (
        SELECT t.id FROM scheduled_tasks t
         WHERE t.status = 'pending' AND t.task_type = lane.task_type AND t.priority = lane.priority
           AND t.execute_at <= now()
         ORDER BY t.execute_at, t.id
         LIMIT %(room)s FOR UPDATE SKIP LOCKED) first
     LIMIT %(room)s
), soon AS MATERIALIZED (
    SELECT first.id
      FROM (SELECT task_type, priority FROM lane ORDER BY priority DESC, place) AS lane
     CROSS JOIN LATERAL (
        SELECT t.id FROM scheduled_tasks t
         WHERE t.status = 'pending' AND t.task_type = lane.task_type AND t.priority = lane.priority
           AND t.execute_at > now() AND t.execute_at <= now() + %(look_ahead)s * interval '1 second'
         ORDER BY t.execute_at, t.id
         LIMIT %(ahead)s FOR UPDATE SKIP LOCKED) first
     LIMIT least(%(ahead)s, %(room)s - (SELECT count(*) FROM due))
), placed AS MATERIALIZED (
    SELECT id, row_number() OVER () AS nth FROM (SELECT id FROM due UNION ALL SELECT id FROM soon) AS found
), claimed AS (
    UPDATE scheduled_tasks t
       SET (status, error_message, claim_seq, locked_by, started_at, updated_at) = (
            SELECT 'failed', CASE WHEN t.attempts > 0 AND t.error_message NOT LIKE 'expired%%'
             THEN left('expired: ' || t.error_message, 4096)
             ELSE 'expired: not started by '
                  || to_char(t.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"') END, t.claim_seq, t.locked_by, t.started_at, now()
             WHERE t.expires_at <= now()
            UNION ALL
            SELECT 'processing', t.error_message, t.claim_seq + 1, %(holder)s, now(), now()
             WHERE t.expires_at <= now() IS NOT TRUE)
     WHERE t.id = ANY (ARRAY(SELECT id FROM placed))
    RETURNING t.status, t.id, t.claim_seq, t.task_uid::text, t.task_type, t.payload::text, t.context::text, t.result::text,
        extract(epoch FROM coalesce(t.original_execute_at, t.execute_at))::float8,
        extract(epoch FROM t.execute_at)::float8, extract(epoch FROM t.expires_at)::float8,
        t.attempts, t.max_attempts,
        CASE WHEN t.retry_delays IS NOT NULL THEN
            ARRAY(SELECT least(greatest(extract(epoch FROM d.delay), 0), 3.15e9)::float8
                    FROM unnest(t.retry_delays) WITH ORDINALITY AS d (delay, nth) ORDER BY d.nth) END
), coming AS (
    SELECT min(first.execute_at) AS execute_at
      FROM lane CROSS JOIN LATERAL (
        SELECT t.execute_at FROM scheduled_tasks t
         WHERE t.status = 'pending' AND t.task_type = lane.task_type AND t.priority = lane.priority
           AND t.execute_at > now() + %(look_ahead)s * interval '1 second'
         ORDER BY t.execute_at LIMIT 1) first
)
SELECT extract(epoch FROM coming.execute_at)::float8, extract(epoch FROM clock_timestamp())::float8,
       claimed.*
  FROM coming LEFT JOIN (claimed JOIN placed USING (id)) ON true
 ORDER BY placed.nth
