-- A run that cannot be decided is put aside, and says why.
ALTER TABLE runs ADD COLUMN aside TEXT;  -- why it cannot be decided, since it was saved last
CREATE INDEX runs_aside ON runs (opened_at, id) WHERE aside IS NOT NULL;
