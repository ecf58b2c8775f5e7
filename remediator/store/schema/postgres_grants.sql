-- What the daemon's own login may do, if the tables belong to another role. The journal is insert-only.
GRANT USAGE ON SCHEMA remediator TO remediator_daemon;
GRANT SELECT ON ALL TABLES IN SCHEMA remediator TO remediator_daemon;
GRANT INSERT ON ALL TABLES IN SCHEMA remediator TO remediator_daemon;
GRANT UPDATE ON
    remediator.meta, remediator.alerts, remediator.dispositions, remediator.runs, remediator.heads,
    remediator.effects, remediator.replicas, remediator.halts, remediator.pages, remediator.cards,
    remediator.waiting, remediator.open_runs
    TO remediator_daemon;
GRANT DELETE ON
    remediator.waiting, remediator.rejected, remediator.dispositions, remediator.members, remediator.acts,
    remediator.effects, remediator.sets, remediator.firings, remediator.inbox, remediator.alerts,
    remediator.pages
    TO remediator_daemon;
GRANT EXECUTE ON FUNCTION remediator.drop_run TO remediator_daemon;  -- the only way to forget a journal
GRANT USAGE ON ALL SEQUENCES IN SCHEMA remediator TO remediator_daemon;
