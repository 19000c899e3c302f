"""What is kept on disk: the request log, the gateway keys and what budgets remember, in one SQLite file.

::

    sqlite      SqliteLog: the request log as the rest of arbstr sees it
    writer      the one thread that writes, behind a bounded queue
    reader      what /v1/requests shows
    pages       one page of it: in which order, from where on
    cursors     where a page ends, as callers hand it back
    hours       where to look, by what roll-ups know of each hour
    ranking     the first entries in an order, found there
    counting    how many there are
    read_pool   threads that read
    stats       what /v1/stats, its series and /v1/savings add up
    filters     which requests are meant, in SQL
    matching    the same, with the range
    figures     what is added up, in SQL
    ranges      a stretch of time as days, hours and edges
    rollups     sums by hour and by day, which follow the rows
    rebuild     roll-ups compared with the rows, and made anew
    replay_rows the rows as a replay reads them
    rows        a record as a row, a row as a JSON-ready entry
    keys        the table of keys: its queries, and its changes
    key_watch   a running gateway's keys, which follow the table within a second
    key_store   the keys as /admin/keys changes them
    leases      the table of leases: what counts as spent if the process dies
    spend       SqliteSpend: leases, and sums of what the log says was spent
    retention   rows that are old enough go, while the gateway runs
    removal     one step of that, and what is remembered of them
    connection  how the file is opened for writing and for reading
    migrate     the schema, step by step: migrations/*.sql
    lock        one serving process for each file
    errors      StoreError: what the operator is told when the file cannot be used

What it promises: :meth:`~arbstr.store.sqlite.SqliteLog.request` returns at once, whatever state the disk is in. A row
is committed a tenth of a second after it was handed over; until then it is in memory, and a ``kill -9`` loses it.
What is committed survives the death of the process. A power cut may take the last seconds with it, because a commit
does not wait for the disk (``synchronous=NORMAL``), but leaves the file whole. Changes of keys, and leases, do wait.
"""
