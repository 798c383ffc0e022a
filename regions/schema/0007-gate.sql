-- A gate before every write of an edge, so that a primary can be replaced with no write under way.
-- Run by a superuser inside one transaction. Private cluster only.
--
-- Who moves the primary takes the lock exclusively (`pg_advisory_lock(7237953633302080613)`, in this
-- database): it is granted when the writes under way have ended, and no new one begins. Then it shuts
-- the gate with `shut_gate`, because its own connection may be the first that a shutdown ends, and the
-- lock with it. What stands at the gate has done nothing yet, so its edge may begin it again
-- elsewhere. That there is one primary is not the gate's business: where nobody shuts it, or two nodes
-- are open, timelines and the standby's acknowledgement decide as before.

-- A gate is shut for one timeline, so that it is open on the next primary, and for some time, so that
-- nobody who shuts it and dies leaves it shut.
create table domicile.gate (
  single      boolean primary key default true check (single),
  shut_on     integer,
  shut_until  timestamptz
);
insert into domicile.gate default values;

create function domicile.shut_gate(p_ms integer) returns void
language sql volatile set search_path = pg_catalog as $$
  update domicile.gate set
    shut_on = ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int,
    shut_until = clock_timestamp() + p_ms * interval '1 millisecond'
$$;

create function domicile.open_gate() returns void
language sql volatile set search_path = pg_catalog as $$
  update domicile.gate set shut_on = null, shut_until = null
$$;

-- Stops a commit on a server whose timeline is not the one that the edge knows to be the region's:
-- it was replaced, or has just taken over. For commits that store nothing of a client's: they prove
-- who the primary is, also while the gate is shut, and nobody waits for them when it ends.
create function domicile.beside_gate(p_timeline integer) returns void
language plpgsql stable parallel restricted set search_path = pg_catalog as $$
begin
  if pg_is_in_recovery()
    or ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int <> p_timeline
  then
    raise exception using errcode = 'DM006', message = 'this server is not the primary that was meant';
  end if;
end $$;

-- The same for a write: through the gate first (the key is "domicile" in ASCII), and only then a look
-- at where it stands. It waits a moment, for a gate that opens again; a longer wait is the edge's,
-- which needs no connection for it.
create or replace function domicile.on_timeline(p_timeline integer) returns void
language plpgsql volatile parallel restricted
set search_path = pg_catalog set lock_timeout = '50ms' as $$
begin
  perform pg_advisory_xact_lock_shared(7237953633302080613);
  if exists (
    select from domicile.gate where shut_on = p_timeline and shut_until > clock_timestamp()
  ) then
    raise exception using errcode = '55P03', message = 'the gate is shut';
  end if;
  perform domicile.beside_gate(p_timeline);
end $$;

-- As before, and up to where the log is flushed where commits wait for nobody: nothing is held back
-- from readers then, unless a commit still waits since it was otherwise.
create or replace function domicile.released_up_to(p_slots text[]) returns pg_lsn
language plpgsql stable parallel restricted security definer set search_path = pg_catalog as $$
declare
  flushed pg_lsn := pg_current_wal_flush_lsn();
begin
  if current_setting('synchronous_standby_names') = ''
    and not exists (select from pg_stat_activity where wait_event = 'SyncRep')
  then
    return flushed;
  end if;
  return greatest(
    (select max(restart_lsn) from pg_replication_slots
     where slot_type = 'physical' and slot_name = any (p_slots)),
    (select max(flush_lsn) from pg_stat_replication where sync_state in ('sync', 'quorum'))
  );
end $$;

revoke execute on function
  domicile.beside_gate(integer),
  domicile.shut_gate(integer),
  domicile.open_gate()
from public;
