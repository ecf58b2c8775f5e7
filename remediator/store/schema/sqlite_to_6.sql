-- How many runs of a policy are open is known without counting them.
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
INSERT INTO open_runs SELECT policy, shadow, count(*) FROM runs WHERE open = 1 GROUP BY policy, shadow;
