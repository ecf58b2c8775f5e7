-- The PostgreSQL store's tables and functions, in a schema of their own. Times are integer microseconds
-- UTC; `doc` is the value whole, as JSON text. Whatever is looked for while the daemon works has a partial
-- index over what is open, so that its cost does not grow with history.
--
-- A function that a later version needs otherwise gets another name: daemons of two versions run beside
-- each other while they are being replaced.

CREATE TABLE meta (
    key   text COLLATE "C" PRIMARY KEY,  -- schema | high_water | system | timeline | position
    value bigint NOT NULL
);

CREATE SEQUENCE delivery_numbers INCREMENT BY 64;  -- handed out in blocks, see remediator/store/postgres.py
CREATE SEQUENCE effect_numbers INCREMENT BY 64;

CREATE TABLE inbox (
    id  bigint PRIMARY KEY,
    doc text COLLATE "C" NOT NULL,       -- may be large: a row is written once, and never touched again
    received_at bigint NOT NULL
);

CREATE TABLE waiting (           -- the deliveries that are not yet decided on
    id bigint PRIMARY KEY
);

CREATE TABLE rejected (
    id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    doc text COLLATE "C" NOT NULL
);

CREATE TABLE alerts (
    fingerprint text COLLATE "C" PRIMARY KEY,
    firing      boolean NOT NULL,
    source      text COLLATE "C" NOT NULL,
    last_at     bigint NOT NULL,
    doc         text COLLATE "C" NOT NULL
);
CREATE INDEX alerts_heard ON alerts (last_at);
CREATE INDEX alerts_firing ON alerts (last_at) WHERE firing;
CREATE INDEX alerts_firing_of_source ON alerts (source, last_at) WHERE firing;

CREATE TABLE dispositions (
    policy      text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    kind        text COLLATE "C" NOT NULL,
    since       bigint NOT NULL,
    again_at    bigint,      -- this one counts, not the one in doc: waking changes it
    waits_for   text COLLATE "C" NOT NULL,
    doc         text COLLATE "C" NOT NULL,
    PRIMARY KEY (policy, fingerprint)
);
CREATE INDEX dispositions_of_alert ON dispositions (fingerprint);
CREATE INDEX dispositions_again ON dispositions (again_at, policy, fingerprint) WHERE again_at IS NOT NULL;
CREATE INDEX dispositions_waiting ON dispositions (waits_for) WHERE waits_for <> '';
CREATE INDEX dispositions_standing ON dispositions (since) WHERE kind = 'refused';

CREATE TABLE runs (
    id        text COLLATE "C" PRIMARY KEY,
    policy    text COLLATE "C" NOT NULL,
    target    text COLLATE "C" NOT NULL,
    version   text COLLATE "C" NOT NULL,
    shadow    boolean NOT NULL,  -- mode observe: kept apart, locks nothing
    stage     text COLLATE "C" NOT NULL,
    open      boolean NOT NULL,  -- Run.open
    locks     boolean NOT NULL,  -- Run.locks_target
    wake_at   bigint,
    opened_at bigint NOT NULL,
    closed_at bigint,
    outcome   text COLLATE "C",
    rev       bigint NOT NULL DEFAULT 1,  -- of the row: whoever decided on an older one decides again
    scope     text[],                     -- what its decisions count: fetched together with it
    doc       text COLLATE "C" NOT NULL,
    aside     text COLLATE "C"            -- why it cannot be decided, since it was saved last
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX runs_one_open ON runs (policy, target, shadow) WHERE open;
CREATE UNIQUE INDEX runs_one_lock ON runs (target) WHERE locks;
CREATE INDEX runs_live ON runs (opened_at, id) WHERE stage <> 'closed';
CREATE INDEX runs_taking_back ON runs (policy, target) WHERE stage IN ('holding', 'undoing');
CREATE INDEX runs_wake ON runs (wake_at, id) WHERE wake_at IS NOT NULL;
CREATE INDEX runs_opened ON runs (opened_at, id);
CREATE INDEX runs_of_policy ON runs (policy, opened_at, id);
CREATE INDEX runs_of_target ON runs (target, opened_at, id);
CREATE INDEX runs_ended ON runs (policy, outcome) WHERE stage = 'closed';
CREATE INDEX runs_closed ON runs (closed_at, id) WHERE stage = 'closed';
CREATE INDEX runs_of_version ON runs (version);
CREATE INDEX runs_aside ON runs (opened_at, id) WHERE aside IS NOT NULL;

CREATE TABLE open_runs (         -- how many: counted as they open and close, for every decision asks
    policy text COLLATE "C" NOT NULL,
    shadow boolean NOT NULL,
    runs   bigint NOT NULL,
    PRIMARY KEY (policy, shadow)
) WITH (fillfactor = 50);

CREATE TABLE pruned (            -- how many runs ended so and are forgotten
    policy  text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    runs    bigint NOT NULL,
    PRIMARY KEY (policy, outcome)
);

CREATE TABLE members (           -- the alerts of runs that are not closed
    fingerprint text COLLATE "C" NOT NULL,
    run         text COLLATE "C" NOT NULL,
    PRIMARY KEY (fingerprint, run)
);
CREATE INDEX members_of_run ON members (run);

CREATE TABLE acts (              -- what bounds count
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    policy text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    run    text COLLATE "C" NOT NULL,
    kind   text COLLATE "C" NOT NULL,        -- act | denied | safe | asked | failed
    what   text COLLATE "C" NOT NULL,
    at     bigint NOT NULL,
    shadow boolean NOT NULL,
    budget text COLLATE "C" NOT NULL         -- of the policy, as it was then; '' for none
);
CREATE INDEX acts_on_target ON acts (policy, target, shadow, kind, at, run, what);
CREATE INDEX acts_of_policy ON acts (policy, shadow, at, run) WHERE kind = 'act';
CREATE INDEX acts_of_budget ON acts (budget, shadow, at, run, policy) WHERE kind = 'act' AND budget <> '';
CREATE INDEX acts_failed ON acts (policy, at, run) WHERE kind = 'failed';

CREATE TABLE journal (
    run      text COLLATE "C" NOT NULL,
    seq      bigint NOT NULL,
    at       bigint NOT NULL,
    kind     text COLLATE "C" NOT NULL,
    data     text COLLATE "C" NOT NULL,
    previous text COLLATE "C" NOT NULL,
    hash     text COLLATE "C" NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE TABLE heads (             -- the last line of each journal
    run  text COLLATE "C" PRIMARY KEY,
    seq  bigint NOT NULL,
    hash text COLLATE "C" NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE effects (           -- only those without a result: a row goes when its result comes
    id     bigint PRIMARY KEY,
    run    text COLLATE "C" NOT NULL,
    kind   text COLLATE "C" NOT NULL,
    doc    text COLLATE "C" NOT NULL,
    holder text COLLATE "C" NOT NULL         -- the replica that performs it
);
CREATE INDEX effects_of_run ON effects (run);
CREATE INDEX effects_held ON effects (holder);

CREATE TABLE replicas (
    id       text COLLATE "C" PRIMARY KEY,
    host     text COLLATE "C" NOT NULL,
    policies text COLLATE "C" NOT NULL,
    since    bigint NOT NULL,
    until    bigint NOT NULL,    -- the end of its lease by clock(): whoever wants it over asks whether it moves
    gone     boolean NOT NULL    -- others have taken over: it may write nothing any more
);

CREATE TABLE sets (              -- versions of the policies, as announced; the last is current
    version  text COLLATE "C" PRIMARY KEY,
    policies text NOT NULL,      -- the version of each, by name, as JSON
    number   bigint GENERATED ALWAYS AS IDENTITY UNIQUE
);

CREATE TABLE halts (
    id        text COLLATE "C" PRIMARY KEY,
    scope     text COLLATE "C" NOT NULL,
    at        bigint NOT NULL,
    doc       text COLLATE "C" NOT NULL,
    lifted_at bigint,
    lifted_by text
);
CREATE INDEX halts_in_force ON halts (scope) WHERE lifted_at IS NULL;

CREATE TABLE pages (
    id        text COLLATE "C" PRIMARY KEY,
    key       text COLLATE "C" NOT NULL,
    run       text COLLATE "C" NOT NULL,
    open      boolean NOT NULL,  -- not acknowledged
    opened_at bigint NOT NULL,
    next_at   bigint,
    doc       text COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX pages_one_open ON pages (key) WHERE open;
CREATE INDEX pages_open ON pages (opened_at, id) WHERE open;
CREATE INDEX pages_next ON pages (next_at, id) WHERE open AND next_at IS NOT NULL;
CREATE INDEX pages_of_run ON pages (run);
CREATE INDEX pages_over ON pages (opened_at) WHERE NOT open AND run = '';

CREATE TABLE firings (           -- of watches, each claimed once
    watch text COLLATE "C" NOT NULL,
    at    bigint NOT NULL,
    PRIMARY KEY (watch, at)
);

CREATE TABLE policies (          -- versions that runs may still follow
    version text COLLATE "C" PRIMARY KEY,
    name    text COLLATE "C" NOT NULL,
    text    text COLLATE "C" NOT NULL,
    file    text COLLATE "C" NOT NULL
);

CREATE TABLE cards (
    gate     text COLLATE "C" PRIMARY KEY,
    channel  text COLLATE "C" NOT NULL,
    ts       text COLLATE "C" NOT NULL,
    digest   text COLLATE "C" NOT NULL,
    attached text COLLATE "C" NOT NULL
);

-- ── Functions ───────────────────────────────────────────────────────────────────────────────────────
-- Each statement in them sees what was committed before it began, a lock's wait included: so they are
-- VOLATILE, and transactions READ COMMITTED.

CREATE FUNCTION clock() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

CREATE FUNCTION count_open() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.open THEN
        UPDATE remediator.open_runs SET runs = runs - 1 WHERE policy = OLD.policy AND shadow = OLD.shadow;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.open THEN
        INSERT INTO remediator.open_runs (policy, shadow, runs) VALUES (NEW.policy, NEW.shadow, 1)
            ON CONFLICT (policy, shadow) DO UPDATE SET runs = open_runs.runs + 1;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER opens AFTER INSERT ON runs FOR EACH ROW WHEN (NEW.open) EXECUTE FUNCTION count_open();
CREATE TRIGGER moves AFTER UPDATE OF open, policy, shadow ON runs FOR EACH ROW
    WHEN ((OLD.open, OLD.policy, OLD.shadow) IS DISTINCT FROM (NEW.open, NEW.policy, NEW.shadow))
    EXECUTE FUNCTION count_open();
CREATE TRIGGER goes AFTER DELETE ON runs FOR EACH ROW WHEN (OLD.open) EXECUTE FUNCTION count_open();

-- Until the end of the transaction. `wait`: whether to wait for somebody else's; nobody may who holds a
-- later one already, or two would wait for each other. A halt is shared by all who start something,
-- and all alerts are by those who decide on a few.
CREATE FUNCTION take_locks(keys text[], wait boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    key text;
    number bigint;
    got boolean := true;
BEGIN
    FOREACH key IN ARRAY keys LOOP
        number := hashtextextended(rtrim(key, '!'), 4711);
        IF key IN ('1alert', '2halt') THEN
            IF wait THEN PERFORM pg_advisory_xact_lock_shared(number);
            ELSE got := pg_try_advisory_xact_lock_shared(number);
            END IF;
        ELSIF wait THEN PERFORM pg_advisory_xact_lock(number);
        ELSE got := pg_try_advisory_xact_lock(number);
        END IF;
        IF NOT got THEN
            RAISE EXCEPTION 'somebody else decides on %', key USING ERRCODE = '40001';
        END IF;
    END LOOP;
END
$$;

-- What a decision on this scope may depend on, see remediator.ports.Scope for its parts.
CREATE FUNCTION seen(scope text[], until bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    p text := scope[1]; t text := scope[2]; me text := scope[3]; s boolean := scope[4];
    t_since bigint := until - scope[5]::bigint;
    p_since bigint := until - scope[6]::bigint;
    b text := scope[7];
    b_since bigint := until - scope[8]::bigint;
    f_since bigint := until - scope[9]::bigint;
BEGIN
    RETURN json_build_object(
        'last_act', (SELECT at FROM acts WHERE policy = p AND target = t AND shadow = s AND kind = 'act'
            AND run <> me ORDER BY at DESC LIMIT 1),
        'last_denial', (SELECT at FROM acts AS denial WHERE policy = p AND target = t AND shadow = s
            AND kind = 'denied' AND run <> me AND NOT (what = 'expired' AND EXISTS (
                SELECT FROM acts AS again WHERE again.policy = p AND again.target = t AND again.shadow = s
                AND again.kind = 'asked' AND again.run = denial.run))
            ORDER BY at DESC LIMIT 1),
        'open_runs', coalesce((SELECT runs FROM open_runs WHERE policy = p AND shadow = s), 0)
            - (SELECT count(*) FROM runs WHERE id = me AND policy = p AND shadow = s AND open),
        'holder', (SELECT id FROM runs WHERE target = t AND locks AND id <> me),
        'target_acts', (SELECT coalesce(json_agg(last ORDER BY last DESC), '[]') FROM (
            SELECT max(at) AS last FROM acts WHERE policy = p AND target = t AND shadow = s AND kind = 'act'
            AND at > t_since AND run <> me GROUP BY run) AS each),
        'policy_acts', (SELECT coalesce(json_agg(last ORDER BY last DESC), '[]') FROM (
            SELECT max(at) AS last FROM acts WHERE policy = p AND shadow = s AND kind = 'act'
            AND at > p_since AND run <> me GROUP BY run) AS each),
        'budget_acts', CASE WHEN b = '' THEN '[]' ELSE (
            SELECT coalesce(json_agg(json_build_array(policy, at) ORDER BY at DESC), '[]') FROM (
            SELECT DISTINCT ON (run) policy, at FROM acts WHERE budget = b AND budget <> '' AND shadow = s
            AND kind = 'act' AND at > b_since AND run <> me ORDER BY run, at DESC) AS each) END,
        'failures', CASE WHEN f_since = until THEN '[]' ELSE (
            SELECT coalesce(json_agg(last ORDER BY last DESC), '[]') FROM (
            SELECT max(at) AS last FROM acts WHERE policy = p AND kind = 'failed'
            AND at > f_since AND run <> me GROUP BY run) AS each) END,
        'safe_plays', (SELECT coalesce(json_object_agg(what, last), '{}') FROM (
            SELECT what, max(at) AS last FROM acts WHERE policy = p AND target = t AND shadow = s
            AND kind = 'safe' AND run <> me GROUP BY what) AS each),
        'halts', (SELECT coalesce(json_agg(doc::json ORDER BY at, id), '[]') FROM halts
            WHERE lifted_at IS NULL AND halts.scope IN ('all', 'policy:' || p, 'target:' || t)),
        'holding', (SELECT coalesce(json_agg(doc::json ORDER BY id), '[]') FROM runs
            WHERE policy = p AND target = t AND stage IN ('holding', 'undoing') AND id <> me)
    )::text;
END
$$;

-- The first question of every transaction: the time, the fence, and what its caller knows it will ask.
CREATE FUNCTION look(
    me text, doubts text[], keys text[], run_id text, effect_id bigint, numbers boolean[],
    OUT now bigint, OUT high_water bigint, OUT looked_at text[], OUT gone boolean, OUT current_set text, OUT doc text, OUT rev bigint, OUT wake_at bigint,
    OUT scope text[], OUT seen text, OUT head_seq bigint, OUT head_hash text, OUT there boolean,
    OUT dispositions text, OUT deliveries bigint, OUT effects bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM take_locks(keys, true);
    now := clock();
    high_water := (SELECT value FROM meta WHERE key = 'high_water');
    IF doubts <> '{}' THEN
        looked_at := ARRAY(SELECT id FROM halts WHERE id = ANY (doubts) AND lifted_at IS NOT NULL);
    END IF;
    gone := coalesce((SELECT replicas.gone FROM replicas WHERE id = me), false);
    current_set := (SELECT version FROM sets ORDER BY number DESC LIMIT 1);
    IF numbers[1] THEN deliveries := nextval('delivery_numbers'); END IF;
    IF numbers[2] THEN effects := nextval('effect_numbers'); END IF;
    IF run_id IS NULL OR gone THEN RETURN; END IF;
    IF effect_id IS NOT NULL THEN
        there := EXISTS (SELECT FROM remediator.effects AS one WHERE one.id = effect_id AND one.run = run_id);
    END IF;
    SELECT runs.doc, runs.rev, runs.wake_at, runs.scope INTO doc, rev, wake_at, scope
        FROM runs WHERE id = run_id FOR UPDATE SKIP LOCKED;
    IF doc IS NULL THEN RETURN; END IF;
    SELECT heads.seq, heads.hash INTO head_seq, head_hash FROM heads WHERE run = run_id;
    dispositions := (SELECT json_agg(json_build_array(one.again_at, one.doc::json))
        FROM members JOIN remediator.dispositions AS one USING (fingerprint) WHERE run = run_id);
    IF scope IS NOT NULL THEN seen := seen(scope, now); END IF;
END
$$;

-- Alerts about to be decided on, each locked: what is known of it, its runs, what became of it.
CREATE FUNCTION hear(
    keys text[], wait boolean, fingerprints text[],
    OUT fingerprint text, OUT alert text, OUT runs text, OUT dispositions text
) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    PERFORM take_locks(keys, wait);
    FOREACH fingerprint IN ARRAY fingerprints LOOP
        alert := (SELECT doc FROM alerts WHERE alerts.fingerprint = hear.fingerprint);
        runs := (SELECT json_agg(json_build_array(one.rev, one.doc::json))
            FROM members JOIN remediator.runs AS one ON one.id = members.run
            WHERE members.fingerprint = hear.fingerprint);
        dispositions := (SELECT json_agg(json_build_array(one.again_at, one.doc::json))
            FROM remediator.dispositions AS one WHERE one.fingerprint = hear.fingerprint);
        RETURN NEXT;
    END LOOP;
END
$$;

-- Everything that a transaction has written so far, at once. `a` are the arguments of all kinds in turn.
CREATE FUNCTION flush(
    me text, now bigint, keys text[], wait boolean, scopes text[], facts text[], unlocked text[],
    kinds text[], a text[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    kind text;
    i int := 0;  -- arguments that are done
    last_seq bigint;
    last_hash text;
BEGIN
    PERFORM take_locks(keys, wait);
    FOR n IN 1 .. cardinality(facts) LOOP  -- what was seen without a lock must still be so
        IF seen(scopes[n * 9 - 8 : n * 9], now) <> facts[n] THEN
            RAISE EXCEPTION 'what was seen has changed' USING ERRCODE = '40001';
        END IF;
    END LOOP;
    IF unlocked <> '{}' THEN
        PERFORM FROM runs WHERE id = ANY (unlocked) ORDER BY id FOR UPDATE NOWAIT;
    END IF;
    FOREACH kind IN ARRAY kinds LOOP
        CASE kind
        WHEN 'run' THEN
            UPDATE runs SET policy = a[i+2], target = a[i+3], version = a[i+4], shadow = a[i+5]::boolean,
                stage = a[i+6], open = a[i+7]::boolean, locks = a[i+8]::boolean, wake_at = a[i+9]::bigint,
                opened_at = a[i+10]::bigint, closed_at = a[i+11]::bigint, outcome = a[i+12], doc = a[i+13],
                scope = coalesce(a[i+14]::text[], scope), rev = rev + 1, aside = NULL
                WHERE id = a[i+1] AND rev = coalesce(a[i+15]::bigint, rev);
            IF NOT FOUND THEN
                IF a[i+15] IS NOT NULL THEN
                    RAISE EXCEPTION 'run % was changed meanwhile', a[i+1] USING ERRCODE = '40001';
                END IF;
                INSERT INTO runs (id, policy, target, version, shadow, stage, open, locks, wake_at,
                    opened_at, closed_at, outcome, doc, scope)
                VALUES (a[i+1], a[i+2], a[i+3], a[i+4], a[i+5]::boolean, a[i+6], a[i+7]::boolean,
                    a[i+8]::boolean, a[i+9]::bigint, a[i+10]::bigint, a[i+11]::bigint, a[i+12], a[i+13],
                    a[i+14]::text[]);
            END IF;
            i := i + 15;
        WHEN 'members' THEN
            DELETE FROM members WHERE run = a[i+1] AND fingerprint <> ALL (a[i+2]::text[]);
            INSERT INTO members (fingerprint, run) SELECT one, a[i+1] FROM unnest(a[i+2]::text[]) AS one
                ON CONFLICT DO NOTHING;
            i := i + 2;
        WHEN 'line' THEN
            INSERT INTO journal (run, seq, at, kind, data, previous, hash)
                VALUES (a[i+1], a[i+2]::bigint, now, a[i+3], a[i+4], a[i+5], a[i+6]);
            i := i + 6;
        WHEN 'head' THEN
            IF a[i+4] = '0' THEN
                INSERT INTO heads (run, seq, hash) VALUES (a[i+1], a[i+2]::bigint, a[i+3])
                    ON CONFLICT DO NOTHING;
            ELSE
                UPDATE heads SET seq = a[i+2]::bigint, hash = a[i+3]
                    WHERE run = a[i+1] AND seq = a[i+4]::bigint;
            END IF;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'the journal of % went on meanwhile', a[i+1] USING ERRCODE = '40001';
            END IF;
            i := i + 4;
        WHEN 'system' THEN  -- linked here, so that its head is locked as briefly as can be
            INSERT INTO heads (run, seq, hash) VALUES ('system', 0, repeat('0', 64)) ON CONFLICT DO NOTHING;
            SELECT seq, hash INTO last_seq, last_hash FROM heads WHERE run = 'system' FOR UPDATE;
            INSERT INTO journal (run, seq, at, kind, data, previous, hash)
                VALUES ('system', last_seq + 1, now, a[i+1], a[i+2], last_hash, encode(sha256(convert_to(
                    '["' || last_hash || '","system",{"#":"' || last_seq + 1 || '"},' || a[i+3], 'UTF8')), 'hex'))
                RETURNING hash INTO last_hash;
            UPDATE heads SET seq = last_seq + 1, hash = last_hash WHERE run = 'system';
            i := i + 3;
        WHEN 'effect' THEN
            INSERT INTO effects (id, run, kind, doc, holder)
                VALUES (a[i+1]::bigint, a[i+2], a[i+3], a[i+4], me);
            i := i + 4;
        WHEN 'result' THEN
            DELETE FROM effects WHERE id = a[i+1]::bigint;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'effect % has its result already', a[i+1] USING ERRCODE = '40001';
            END IF;
            i := i + 1;
        WHEN 'repeatable' THEN
            DELETE FROM effects WHERE run = a[i+1] AND effects.kind IN ('Probe', 'Preview');
            i := i + 1;
        WHEN 'count' THEN
            INSERT INTO acts (policy, target, run, kind, what, at, shadow, budget)
                VALUES (a[i+1], a[i+2], a[i+3], a[i+4], a[i+5], now, a[i+6]::boolean, a[i+7]);
            IF a[i+4] = 'safe' THEN  -- the newest line is kept, and the newest of another run
                DELETE FROM acts WHERE policy = a[i+1] AND target = a[i+2] AND shadow = a[i+6]::boolean
                    AND acts.kind = 'safe' AND what = a[i+5]
                    AND id < (SELECT max(id) FROM acts WHERE policy = a[i+1] AND target = a[i+2]
                        AND shadow = a[i+6]::boolean AND acts.kind = 'safe' AND what = a[i+5])
                    AND id < coalesce((SELECT max(id) FROM acts WHERE policy = a[i+1] AND target = a[i+2]
                        AND shadow = a[i+6]::boolean AND acts.kind = 'safe' AND what = a[i+5]
                        AND run <> a[i+3]), 9223372036854775807);
            END IF;
            i := i + 7;
        WHEN 'delivery' THEN
            INSERT INTO inbox (id, doc, received_at) VALUES (a[i+1]::bigint, a[i+2], a[i+3]::bigint);
            INSERT INTO waiting (id) VALUES (a[i+1]::bigint);
            i := i + 3;
        WHEN 'settled' THEN
            DELETE FROM waiting WHERE id = a[i+1]::bigint;
            i := i + 1;
        WHEN 'rejected' THEN
            INSERT INTO rejected (doc) VALUES (a[i+1]);
            DELETE FROM rejected WHERE id <= (SELECT id FROM rejected ORDER BY id DESC OFFSET 200 LIMIT 1);
            i := i + 1;
        WHEN 'alert' THEN
            INSERT INTO alerts (fingerprint, firing, source, last_at, doc)
                VALUES (a[i+1], a[i+2]::boolean, a[i+3], a[i+4]::bigint, a[i+5])
                ON CONFLICT (fingerprint) DO UPDATE SET firing = excluded.firing, source = excluded.source,
                    last_at = excluded.last_at, doc = excluded.doc;
            i := i + 5;
        WHEN 'disposition' THEN
            INSERT INTO dispositions (policy, fingerprint, kind, since, again_at, waits_for, doc)
                VALUES (a[i+1], a[i+2], a[i+3], a[i+4]::bigint, a[i+5]::bigint, a[i+6], a[i+7])
                ON CONFLICT (policy, fingerprint) DO UPDATE SET kind = excluded.kind, since = excluded.since,
                    again_at = excluded.again_at, waits_for = excluded.waits_for, doc = excluded.doc;
            i := i + 7;
        WHEN 'resolved' THEN
            DELETE FROM dispositions WHERE fingerprint = a[i+1];
            i := i + 1;
        WHEN 'wake' THEN  -- whoever was woken before keeps its place: in a storm the last has its turn, too
            UPDATE dispositions SET again_at = now WHERE waits_for = a[i+1] AND waits_for <> ''
                AND (again_at IS NULL OR again_at > now);
            i := i + 1;
        WHEN 'beat' THEN
            INSERT INTO replicas (id, host, policies, since, until, gone)
                VALUES (a[i+1], a[i+2], a[i+3], a[i+4]::bigint, a[i+5]::bigint - now + clock(), false)
                ON CONFLICT (id) DO UPDATE SET host = excluded.host, policies = excluded.policies,
                    until = excluded.until WHERE NOT replicas.gone;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'taken over' USING ERRCODE = 'RM001';
            END IF;
            i := i + 5;
        WHEN 'current' THEN  -- who opens a run had these policies; who announces newer ones waits, or is first
            IF a[i+1] <> coalesce((SELECT version FROM sets ORDER BY number DESC LIMIT 1), '') THEN
                RAISE EXCEPTION 'there are newer policies' USING ERRCODE = '40001';
            END IF;
            i := i + 1;
        WHEN 'set' THEN
            DELETE FROM sets WHERE version = a[i+1];
            INSERT INTO sets (version, policies) VALUES (a[i+1], a[i+2]);
            i := i + 2;
        WHEN 'halt' THEN
            INSERT INTO halts (id, scope, at, doc) VALUES (a[i+1], a[i+2], a[i+3]::bigint, a[i+4])
                ON CONFLICT (id) DO UPDATE SET scope = excluded.scope, at = excluded.at, doc = excluded.doc,
                    lifted_at = NULL, lifted_by = NULL;
            i := i + 4;
        WHEN 'page' THEN
            INSERT INTO pages (id, key, run, open, opened_at, next_at, doc)
                VALUES (a[i+1], a[i+2], a[i+3], a[i+4]::boolean, a[i+5]::bigint, a[i+6]::bigint, a[i+7]);
            i := i + 7;
        WHEN 'saved-page' THEN
            INSERT INTO pages (id, key, run, open, opened_at, next_at, doc)
                VALUES (a[i+1], a[i+2], a[i+3], a[i+4]::boolean, a[i+5]::bigint, a[i+6]::bigint, a[i+7])
                ON CONFLICT (id) DO UPDATE SET key = excluded.key, run = excluded.run, open = excluded.open,
                    opened_at = excluded.opened_at, next_at = excluded.next_at, doc = excluded.doc;
            i := i + 7;
        WHEN 'policy' THEN
            INSERT INTO policies (version, name, text, file) VALUES (a[i+1], a[i+2], a[i+3], a[i+4])
                ON CONFLICT DO NOTHING;  -- a version is the hash of its text
            i := i + 4;
        WHEN 'time' THEN
            UPDATE meta SET value = greatest(value, now) WHERE key = 'high_water';
        WHEN 'standing' THEN
            INSERT INTO meta VALUES
                ('system', a[i+1]::bigint), ('timeline', a[i+2]::bigint), ('position', a[i+3]::bigint)
                ON CONFLICT (key) DO UPDATE SET value = excluded.value;
            i := i + 3;
        END CASE;
    END LOOP;
END
$$;

-- A transaction's last writes and its end are sent together: whoever waits for what they lock does not
-- wait for the daemon. COMMIT goes with what has no arguments, so those are kept until then.
CREATE FUNCTION keep(
    me text, now bigint, keys text[], wait boolean, scopes text[], facts text[], unlocked text[],
    kinds text[], a text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('remediator.me', me, true), set_config('remediator.now', now::text, true),
        set_config('remediator.keys', keys::text, true), set_config('remediator.wait', wait::text, true),
        set_config('remediator.scopes', scopes::text, true), set_config('remediator.facts', facts::text, true),
        set_config('remediator.unlocked', unlocked::text, true),
        set_config('remediator.kinds', kinds::text, true), set_config('remediator.a', a::text, true);
END
$$;

CREATE FUNCTION flush_kept() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM flush(
        current_setting('remediator.me'), current_setting('remediator.now')::bigint,
        current_setting('remediator.keys')::text[], current_setting('remediator.wait')::boolean,
        current_setting('remediator.scopes')::text[], current_setting('remediator.facts')::text[],
        current_setting('remediator.unlocked')::text[], current_setting('remediator.kinds')::text[],
        current_setting('remediator.a')::text[]);
END
$$;

-- Whoever may only add to journals forgets a closed run through this, whole, and in no other way. The lock
-- is the one of those who open runs: a version of a policy stays while a run follows it.
CREATE FUNCTION drop_run(run_id text) RETURNS boolean LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = remediator, pg_catalog, pg_temp AS $$
DECLARE
    gone runs%ROWTYPE;
BEGIN
    DELETE FROM runs WHERE id = run_id AND stage = 'closed' RETURNING * INTO gone;
    IF gone.id IS NULL THEN RETURN false; END IF;
    PERFORM take_locks(ARRAY['3policy:' || gone.policy], false);
    INSERT INTO pruned (policy, outcome, runs) VALUES (gone.policy, coalesce(gone.outcome, ''), 1)
        ON CONFLICT (policy, outcome) DO UPDATE SET runs = pruned.runs + 1;
    DELETE FROM journal WHERE run = run_id;
    DELETE FROM heads WHERE run = run_id;
    DELETE FROM pages WHERE run = run_id;
    DELETE FROM cards WHERE gate > run_id || '.' AND gate < run_id || '/';
    DELETE FROM policies WHERE version = gone.version
        AND NOT EXISTS (SELECT FROM runs WHERE version = gone.version);
    RETURN true;
END
$$;
REVOKE EXECUTE ON FUNCTION drop_run FROM PUBLIC;
