-- The SQLite store's tables. Times are integer microseconds UTC; `doc` is the value whole, as JSON.
-- Whatever is looked for while the daemon works has a partial index over what is open, so that its
-- cost does not grow with history.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,  -- schema | high_water
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
    id  INTEGER PRIMARY KEY AUTOINCREMENT,
    doc BLOB NOT NULL        -- may be large: a row is written once, and never touched again
) STRICT;

CREATE TABLE waiting (           -- the deliveries that are not yet decided on
    id INTEGER PRIMARY KEY REFERENCES inbox (id)
) STRICT;

CREATE TABLE rejected (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    source  TEXT NOT NULL,
    problem TEXT NOT NULL,
    body    TEXT NOT NULL
) STRICT;

CREATE TABLE alerts (
    fingerprint TEXT PRIMARY KEY,
    firing      INTEGER NOT NULL,
    source      TEXT NOT NULL,
    last_at     INTEGER NOT NULL,
    doc         BLOB NOT NULL
) STRICT;
CREATE INDEX alerts_heard ON alerts (last_at);
CREATE INDEX alerts_firing ON alerts (last_at) WHERE firing = 1;
CREATE INDEX alerts_firing_of_source ON alerts (source, last_at) WHERE firing = 1;

CREATE TABLE dispositions (
    policy      TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    kind        TEXT NOT NULL,
    since       INTEGER NOT NULL,
    again_at    INTEGER,     -- this one counts, not the one in doc: waking changes it
    waits_for   TEXT NOT NULL,
    doc         BLOB NOT NULL,
    PRIMARY KEY (policy, fingerprint)
) STRICT;
CREATE INDEX dispositions_of_alert ON dispositions (fingerprint);
CREATE INDEX dispositions_again ON dispositions (again_at) WHERE again_at IS NOT NULL;
CREATE INDEX dispositions_waiting ON dispositions (waits_for) WHERE waits_for <> '';
CREATE INDEX dispositions_standing ON dispositions (since) WHERE kind = 'refused';

CREATE TABLE runs (
    id        TEXT PRIMARY KEY,
    policy    TEXT NOT NULL,
    target    TEXT NOT NULL,
    version   TEXT NOT NULL,
    shadow    INTEGER NOT NULL,  -- mode observe: kept apart, locks nothing
    stage     TEXT NOT NULL,
    open      INTEGER NOT NULL,  -- Run.open
    locks     INTEGER NOT NULL,  -- Run.locks_target
    wake_at   INTEGER,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    outcome   TEXT,
    doc       BLOB NOT NULL,
    aside     TEXT               -- why it cannot be decided, since it was saved last
) STRICT;
CREATE UNIQUE INDEX runs_one_open ON runs (policy, target, shadow) WHERE open = 1;
CREATE UNIQUE INDEX runs_one_lock ON runs (target) WHERE locks = 1;
CREATE INDEX runs_live ON runs (opened_at, id) WHERE stage <> 'closed';
CREATE INDEX runs_taking_back ON runs (policy, target) WHERE stage IN ('holding', 'undoing');
CREATE INDEX runs_wake ON runs (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX runs_opened ON runs (opened_at, id);
CREATE INDEX runs_of_policy ON runs (policy, opened_at, id);
CREATE INDEX runs_of_target ON runs (target, opened_at, id);
CREATE INDEX runs_ended ON runs (policy, outcome) WHERE stage = 'closed';
CREATE INDEX runs_closed ON runs (closed_at, id) WHERE stage = 'closed';
CREATE INDEX runs_of_version ON runs (version);
CREATE INDEX runs_aside ON runs (opened_at, id) WHERE aside IS NOT NULL;

CREATE TABLE open_runs (         -- how many: counted as they open and close, for every decision asks
    policy TEXT NOT NULL,
    shadow INTEGER NOT NULL,
    runs   INTEGER NOT NULL,
    PRIMARY KEY (policy, shadow)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER runs_open AFTER INSERT ON runs WHEN new.open = 1 BEGIN
    INSERT INTO open_runs VALUES (new.policy, new.shadow, 1)
        ON CONFLICT (policy, shadow) DO UPDATE SET runs = runs + 1;
END;
CREATE TRIGGER runs_move AFTER UPDATE OF open, policy, shadow ON runs
WHEN old.open <> new.open OR old.policy <> new.policy OR old.shadow <> new.shadow BEGIN
    UPDATE open_runs SET runs = runs - old.open WHERE policy = old.policy AND shadow = old.shadow;
    INSERT INTO open_runs VALUES (new.policy, new.shadow, new.open)
        ON CONFLICT (policy, shadow) DO UPDATE SET runs = runs + excluded.runs;
END;
CREATE TRIGGER runs_go AFTER DELETE ON runs WHEN old.open = 1 BEGIN
    UPDATE open_runs SET runs = runs - 1 WHERE policy = old.policy AND shadow = old.shadow;
END;

CREATE TABLE pruned (            -- how many runs ended so and are forgotten
    policy  TEXT NOT NULL,
    outcome TEXT NOT NULL,
    runs    INTEGER NOT NULL,
    PRIMARY KEY (policy, outcome)
) STRICT, WITHOUT ROWID;

CREATE TABLE members (           -- the alerts of runs that are not closed
    fingerprint TEXT NOT NULL,
    run         TEXT NOT NULL REFERENCES runs (id),
    PRIMARY KEY (fingerprint, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_of_run ON members (run);

CREATE TABLE acts (              -- what bounds count
    id     INTEGER PRIMARY KEY,
    policy TEXT NOT NULL,
    target TEXT NOT NULL,
    run    TEXT NOT NULL,
    kind   TEXT NOT NULL,        -- act | denied | safe | asked | failed
    what   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    shadow INTEGER NOT NULL,
    budget TEXT NOT NULL         -- of the policy, as it was then; '' for none
) STRICT;
CREATE INDEX acts_on_target ON acts (policy, target, shadow, kind, at, run, what);
CREATE INDEX acts_of_policy ON acts (policy, shadow, at, run) WHERE kind = 'act';
CREATE INDEX acts_of_budget ON acts (budget, shadow, at, run, policy) WHERE kind = 'act' AND budget <> '';
CREATE INDEX acts_failed ON acts (policy, at, run) WHERE kind = 'failed';

CREATE TABLE journal (
    run      TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    data     TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash     TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT;

CREATE TABLE heads (             -- the last line of each journal
    run  TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL,
    hash TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE effects (           -- only those without a result: a row goes when its result comes
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    run  TEXT NOT NULL,
    kind TEXT NOT NULL,
    doc  BLOB NOT NULL,
    holder TEXT NOT NULL DEFAULT ''   -- the replica that performs it
) STRICT;
CREATE INDEX effects_of_run ON effects (run);
CREATE INDEX effects_held ON effects (holder);

CREATE TABLE halts (
    id        TEXT PRIMARY KEY,
    scope     TEXT NOT NULL,
    at        INTEGER NOT NULL,
    doc       BLOB NOT NULL,
    lifted_at INTEGER,
    lifted_by TEXT
) STRICT;
CREATE INDEX halts_in_force ON halts (scope) WHERE lifted_at IS NULL;

CREATE TABLE pages (
    id        TEXT PRIMARY KEY,
    key       TEXT NOT NULL,
    run       TEXT NOT NULL,
    open      INTEGER NOT NULL,  -- not acknowledged
    opened_at INTEGER NOT NULL,
    next_at   INTEGER,
    doc       BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX pages_one_open ON pages (key) WHERE open = 1;
CREATE INDEX pages_open ON pages (opened_at, id) WHERE open = 1;
CREATE INDEX pages_next ON pages (next_at) WHERE open = 1 AND next_at IS NOT NULL;
CREATE INDEX pages_of_run ON pages (run);
CREATE INDEX pages_over ON pages (opened_at) WHERE open = 0 AND run = '';

CREATE TABLE firings (           -- of watches, each claimed once
    watch TEXT NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (watch, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE policies (          -- versions that runs may still follow
    version TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    text    TEXT NOT NULL,
    file    TEXT NOT NULL
) STRICT;

CREATE TABLE cards (
    gate     TEXT PRIMARY KEY,
    channel  TEXT NOT NULL,
    ts       TEXT NOT NULL,
    digest   TEXT NOT NULL,
    attached TEXT NOT NULL
) STRICT;
