-- What operators want to know of a server, and what the last audit said. Run by a superuser inside
-- one transaction. Private cluster only.

-- Numbers alone, because the text of a query holds values, and those have no business in telemetry. With
-- its owner's rights, so that no more roles need to see what everybody runs. It works on a standby too.
create function domicile.server_stats() returns table (what text, label text, value double precision)
language plpgsql volatile parallel restricted security definer set search_path = pg_catalog as $$
declare
  here_now timestamptz := clock_timestamp();
begin
  return query
    select 'sessions', coalesce(a.state, 'starting'), count(*)::float8
    from pg_stat_activity a where a.backend_type = 'client backend' group by 2;
  return query
    select one.what, '', one.value from (
      select
        (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int)::float8 as m,
        count(*) filter (where a.state = 'active' and here_now - a.query_start > interval '1 second')::float8 as slow,
        coalesce(extract(epoch from max(here_now - a.query_start) filter (where a.state = 'active')), 0)::float8 as query_s,
        coalesce(extract(epoch from max(here_now - a.xact_start)), 0)::float8 as transaction_s,
        count(*) filter (where a.wait_event_type = 'Lock')::float8 as waiters
      from pg_stat_activity a
      where a.backend_type = 'client backend' and a.pid <> pg_backend_pid()
    ) s, lateral (values
      ('sessions_max', s.m), ('slow_queries', s.slow), ('longest_query_s', greatest(s.query_s, 0)),
      ('longest_transaction_s', greatest(s.transaction_s, 0)), ('lock_waiters', s.waiters)
    ) one (what, value);
  return query
    select 'locks', case when l.granted then 'held' else 'awaited' end, count(*)::float8
    from pg_locks l where l.pid <> pg_backend_pid() group by 2;
  return query
    select one.what, '', one.value::float8
    from pg_stat_database d, lateral (values
      ('deadlocks', d.deadlocks), ('blocks_hit', d.blks_hit), ('blocks_read', d.blks_read),
      ('commits', d.xact_commit), ('rollbacks', d.xact_rollback), ('temp_bytes', d.temp_bytes)
    ) one (what, value)
    where d.datname = current_database();
  return query select 'xid_age', '', max(age(d.datfrozenxid))::float8 from pg_database d;
  return query select 'archive_failures', '', a.failed_count::float8 from pg_stat_archiver a;
  if not pg_is_in_recovery() then
    return query
      select 'slot_retained', s.slot_name::text,
        pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::float8
      from pg_replication_slots s where s.restart_lsn is not null;
  end if;
end $$;

-- Written by `domicile audit`, for the edges to tell; the reports themselves stay with the auditor.
create table domicile.audits (
  id              bigint generated always as identity primary key,
  ended_at        timestamptz not null default clock_timestamp(),
  verdict         text not null check (verdict in ('clean', 'findings', 'could-not-look')),
  findings        integer not null,
  blind           integer not null,
  policy_version  integer not null
);

revoke execute on function domicile.server_stats() from public;
