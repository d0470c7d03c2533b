-- at-worker: who may do what with scheduled_tasks.
--
-- Four roles that nobody logs in as; grant them to those who do:
--
--     at_producer   inserts tasks, also with at_schedule, and reads back their ids
--     at_monitor    sees what goes on, but no payload, context, dedupe_key or body of an answer
--     at_worker     runs tasks; also for people who reschedule, cancel and run again
--     at_owner      owns the table, its functions and views: at-worker init-db upgrades it as a member
--
--     CREATE ROLE shop LOGIN PASSWORD '...' IN ROLE at_producer;
--
-- Who owned the table before becomes a member of at_owner, so that what runs as that role goes on; REVOKE it
-- once nothing does. This file can be applied again and again, after sql/ddl.sql, wherever the table is found
-- through the search path. It takes a superuser, or the owner of the table where that role may create roles.
-- at-worker init-db --roles and psql -f both apply it. Other rights that the four have on the table are taken
-- away; those of other roles stay.

BEGIN ISOLATION LEVEL READ COMMITTED;

SET LOCAL client_min_messages = warning;
SET LOCAL lock_timeout = '30s';

DO $roles$
DECLARE
    found regclass;
    home name;
    former name;
    wanted name;
    ours text;
BEGIN
    -- The number of sql/ddl.sql: the two take turns.
    PERFORM pg_catalog.pg_advisory_xact_lock(7246031895);
    found := pg_catalog.to_regclass('scheduled_tasks');
    -- On the search path there may be functions and operators of others.
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    SELECT n.nspname, r.rolname INTO home, former
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
     WHERE c.oid = found;
    IF home IS NULL OR to_regclass(format('%I.scheduled_tasks_workers', home)) IS NULL THEN
        RAISE EXCEPTION 'there is no table scheduled_tasks of this version; at-worker init-db creates it';
    END IF;

    FOREACH wanted IN ARRAY ARRAY['at_owner', 'at_producer', 'at_monitor', 'at_worker'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- roles belong to the whole server, and another database was faster
        END;
    END LOOP;

    PERFORM set_config('search_path', format('%I, pg_temp', home), true);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO at_owner, at_producer, at_monitor, at_worker', home);
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO at_owner', home);
    IF former <> 'at_owner' THEN
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = former) THEN
            EXECUTE format('GRANT at_owner TO %I', former);
        END IF;
        ALTER TABLE scheduled_tasks OWNER TO at_owner;
    END IF;
    -- Each lock that this takes would wait for whoever reads there, and all who write for it.
    FOREACH wanted IN ARRAY ARRAY['scheduled_tasks_attempts', 'scheduled_tasks_paused', 'scheduled_tasks_presence',
                                  'scheduled_tasks_lateness', 'scheduled_tasks_overview', 'scheduled_tasks_due',
                                  'scheduled_tasks_running', 'scheduled_tasks_failed', 'scheduled_tasks_workers'] LOOP
        IF (SELECT relowner <> 'at_owner'::regrole FROM pg_class WHERE oid = to_regclass(quote_ident(wanted))) THEN
            EXECUTE format('ALTER TABLE %I OWNER TO at_owner', wanted);
        END IF;
    END LOOP;
    ALTER FUNCTION at_schedule(text, jsonb, timestamptz, jsonb) OWNER TO at_owner;
    ALTER FUNCTION at_cancel(bigint) OWNER TO at_owner;
    ALTER FUNCTION at_reschedule(bigint, timestamptz) OWNER TO at_owner;
    ALTER FUNCTION at_retry(bigint) OWNER TO at_owner;
    ALTER FUNCTION at_pause(text, text) OWNER TO at_owner;
    ALTER FUNCTION at_resume(text) OWNER TO at_owner;
    ALTER FUNCTION scheduled_tasks_forget() OWNER TO at_owner;
    ALTER FUNCTION scheduled_tasks_resumed() OWNER TO at_owner;
    ALTER FUNCTION scheduled_tasks_holder(text) OWNER TO at_owner;
    ALTER FUNCTION scheduled_tasks_by_hand() OWNER TO at_owner;
    ALTER FUNCTION scheduled_tasks_announce() OWNER TO at_owner;
END
$roles$;

REVOKE ALL ON scheduled_tasks, scheduled_tasks_attempts, scheduled_tasks_paused, scheduled_tasks_presence,
              scheduled_tasks_lateness, scheduled_tasks_overview, scheduled_tasks_due, scheduled_tasks_running,
              scheduled_tasks_failed, scheduled_tasks_workers
  FROM PUBLIC, at_producer, at_monitor, at_worker;
REVOKE ALL ON FUNCTION scheduled_tasks_by_hand(), scheduled_tasks_announce(), scheduled_tasks_resumed(),
                       scheduled_tasks_forget() FROM PUBLIC;
REVOKE ALL ON FUNCTION scheduled_tasks_holder(text) FROM PUBLIC, at_producer, at_monitor, at_worker;

-- What an app asks for. Not id and task_uid: who chooses them can make a receiver take a task for another.
GRANT INSERT (task_type, payload, execute_at, max_attempts, priority, expires_at, retry_delays, dedupe_key,
              context)
   ON scheduled_tasks TO at_producer;
-- For INSERT ... RETURNING id.
GRANT SELECT (id) ON scheduled_tasks TO at_producer;
-- at_schedule runs with its caller's rights. Replacing a task takes those of at_worker too, for it may be another
-- producer's; to be told which task holds a key does not.
GRANT EXECUTE ON FUNCTION at_schedule(text, jsonb, timestamptz, jsonb), scheduled_tasks_holder(text) TO at_producer;

-- The columns of the overview, so that questions to the table itself are answered too.
GRANT SELECT (id, task_type, status, priority, execute_at, original_execute_at, expires_at, attempts,
              max_attempts, retry_delays, error_message, created_at, updated_at, started_at, completed_at,
              locked_by, claim_seq, task_uid)
   ON scheduled_tasks TO at_monitor;
GRANT SELECT (task_id, attempt, worker, started_at, ended_at, outcome, error_message)
   ON scheduled_tasks_attempts TO at_monitor;
GRANT SELECT ON scheduled_tasks_overview, scheduled_tasks_lateness, scheduled_tasks_due, scheduled_tasks_running,
                scheduled_tasks_failed, scheduled_tasks_workers, scheduled_tasks_paused, scheduled_tasks_presence
   TO at_monitor, at_worker;

GRANT SELECT, UPDATE, DELETE ON scheduled_tasks TO at_worker;
GRANT SELECT, INSERT ON scheduled_tasks_attempts TO at_worker;
GRANT INSERT, DELETE ON scheduled_tasks_paused TO at_worker;
GRANT INSERT, UPDATE, DELETE ON scheduled_tasks_presence TO at_worker;
GRANT EXECUTE ON FUNCTION at_cancel(bigint), at_reschedule(bigint, timestamptz), at_retry(bigint), at_pause(text, text),
                          at_resume(text) TO at_worker;

COMMIT;
