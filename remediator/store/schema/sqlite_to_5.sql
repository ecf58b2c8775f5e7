-- What is over is forgotten after a time; how runs ended is still counted.
CREATE TABLE pruned (
    policy  TEXT NOT NULL,
    outcome TEXT NOT NULL,
    runs    INTEGER NOT NULL,
    PRIMARY KEY (policy, outcome)
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_closed ON runs (closed_at, id) WHERE stage = 'closed';
CREATE INDEX runs_of_version ON runs (version);
CREATE INDEX pages_over ON pages (opened_at) WHERE open = 0 AND run = '';
