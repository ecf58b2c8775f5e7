"""SQL as PostgreSQL's own grammar reads it: what a probe may read, and what a change may be. Pure.

`reading` judges SELECTs, `change` one UPDATE, INSERT or DELETE; both by the lists of `words`. `cuts` takes a
change apart, `table` says what its table forbids, `picture` derives the preview, the locks and the way back.
"""
