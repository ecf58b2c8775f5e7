-- A card may have a file attached: the whole table of what a step would change.
ALTER TABLE cards ADD COLUMN attached TEXT NOT NULL DEFAULT '';
