-- Effects know who performs them.
ALTER TABLE effects ADD COLUMN holder TEXT NOT NULL DEFAULT '';
CREATE INDEX effects_held ON effects (holder);
