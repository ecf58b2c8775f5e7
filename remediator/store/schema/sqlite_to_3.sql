-- Acts know the budget that they were taken from, failures are found by their policy, and what a run is
-- taking back counts as held.
ALTER TABLE acts ADD COLUMN budget TEXT NOT NULL DEFAULT '';
CREATE INDEX acts_of_budget ON acts (budget, shadow, at, run, policy) WHERE kind = 'act' AND budget <> '';
CREATE INDEX acts_failed ON acts (policy, at, run) WHERE kind = 'failed';
DROP INDEX runs_holding;
CREATE INDEX runs_taking_back ON runs (policy, target) WHERE stage IN ('holding', 'undoing');
