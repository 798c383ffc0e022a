-- Where a node stands, told so that a session can take it along.
-- Run by a superuser inside one transaction; {{region}} is this region's id. Roles exist already.

-- The position of this node's log: last flushed on a primary, last replayed on a replica. Asked in
-- the statement after a read, it lies at or above everything that the read saw.
-- The timeline is asked for after the position, because a replica may move on to the next one in
-- between: a position at or below the fork is the same on both. A replica that follows nobody is on
-- the newest timeline of which it holds any log.
create function domicile.stands_at(out lsn pg_lsn, out timeline integer)
language plpgsql stable parallel restricted security definer
set search_path = pg_catalog as $$
begin
  if pg_is_in_recovery() then
    lsn := pg_last_wal_replay_lsn();
    select w.received_tli into timeline from pg_stat_wal_receiver w;
    if timeline is null then
      select max(('x' || substr(name, 1, 8))::bit(32)::int) into timeline
      from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$';
    end if;
  else
    lsn := pg_current_wal_flush_lsn();
    timeline := ('x' || substr(pg_walfile_name(lsn), 1, 8))::bit(32)::int;
  end if;
end $$;

-- How a timeline came about, as PostgreSQL wrote it down at the promotion: a line for each timeline
-- before it. Null for the first one, which has no such file.
create function domicile.timeline_history(p_timeline integer) returns text
language sql stable parallel restricted security definer set search_path = pg_catalog
  return pg_read_file('pg_wal/' || upper(lpad(to_hex(p_timeline), 8, '0')) || '.history', true);

-- Stops a write on a server whose timeline is not the one that the edge knows to be the region's:
-- it was replaced, or has just taken over.
create function domicile.on_timeline(p_timeline integer) returns void
language plpgsql stable parallel restricted set search_path = pg_catalog as $$
begin
  if pg_is_in_recovery()
    or ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int <> p_timeline
  then
    raise exception using errcode = 'DM006', message = 'this server is not the primary that was meant';
  end if;
end $$;

-- Up to where this primary's commits were released: a synchronous standby has confirmed them, so they
-- are visible here. The standby's slot remembers it when the standby is gone. Null where no slot and
-- no connection of a synchronous standby is known. `p_slots` are their slots' names.
create function domicile.released_up_to(p_slots text[]) returns pg_lsn
language sql stable parallel restricted security definer set search_path = pg_catalog
  return greatest(
    (select max(restart_lsn) from pg_replication_slots
     where slot_type = 'physical' and slot_name = any (p_slots)),
    (select max(flush_lsn) from pg_stat_replication where sync_state in ('sync', 'quorum'))
  );
