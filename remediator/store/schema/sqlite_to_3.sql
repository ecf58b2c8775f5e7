-- Acts know the budget that they were taken from, and failures are found by their policy.
ALTER TABLE acts ADD COLUMN budget TEXT NOT NULL DEFAULT '';
CREATE INDEX acts_of_budget ON acts (budget, shadow, at, run, policy) WHERE kind = 'act' AND budget <> '';
CREATE INDEX acts_failed ON acts (policy, at, run) WHERE kind = 'failed';
