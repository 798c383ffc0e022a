-- What a region's private cluster carries beside the app's own tables.
-- Run by a superuser inside one transaction; {{region}} is this region's id.

create schema domicile;

create function domicile.here() returns text language sql immutable parallel safe
  return '{{region}}';

-- Who lives where. Keys are keyed hashes of subject ids: no name, no address, no id.
-- Rows of this region are written here; rows of other regions arrive through their airlocks.
create table domicile.directory (
  key         bytea primary key check (octet_length(key) = 16),
  home        text not null,
  epoch       integer not null default 1 check (epoch > 0),
  settled_at  timestamptz not null default now()
);
-- The publication filters by home, so home must be part of what an update or delete carries.
create unique index directory_identity on domicile.directory (key, home);
alter table domicile.directory replica identity using index directory_identity;

-- Chosen ids are unique in all regions because a majority of regions holds them for one home each.
-- Attempts of that home share the claim, and it stands until the last of them has given it back:
-- one that fails must not open the id while another one is under way or has stored the subject.
create table domicile.claims (
  key         bytea primary key check (octet_length(key) = 16),
  home        text not null,
  attempts    uuid[] not null check (cardinality(attempts) > 0),
  claimed_at  timestamptz not null default now()
);

-- A heartbeat that travels the same path as the data: what a peer sees here has reached it.
create table domicile.pulses (
  region     text primary key,
  system_id  bigint not null,
  timeline   integer not null,
  lsn        pg_lsn not null,
  at         timestamptz not null
);

-- Claims an id for a home, for one attempt to store it. Answers whose it is: the asker's home, when
-- no other one had it.
create function domicile.claim(p_key bytea, p_home text, p_attempt uuid)
returns table (home text, settled boolean)
language plpgsql security definer set search_path = pg_catalog, domicile as $$
begin
  return query select d.home, true from domicile.directory d where d.key = p_key;
  if found then return; end if;
  return query
    insert into domicile.claims as c (key, home, attempts)
    values (p_key, p_home, array[p_attempt])
    on conflict (key) do update
      set attempts = case
        when c.home = excluded.home and not p_attempt = any (c.attempts)
        then c.attempts || p_attempt else c.attempts end
    returning c.home, false;
end $$;

create function domicile.release(p_key bytea, p_attempt uuid) returns void
language plpgsql security definer set search_path = pg_catalog, domicile as $$
begin
  perform 1 from domicile.claims where key = p_key for update;
  delete from domicile.claims where key = p_key and attempts = array[p_attempt];
  update domicile.claims set attempts = array_remove(attempts, p_attempt)
  where key = p_key and p_attempt = any (attempts);
end $$;

-- Makes the subject live here, in the transaction that stores its first row.
-- A claim that was given back in the meantime stops the transaction. Of two attempts of this home
-- the second finds the directory's row.
create function domicile.settle(p_key bytea, p_attempt uuid) returns void
language plpgsql security definer set search_path = pg_catalog, domicile as $$
begin
  if p_attempt is not null then
    perform 1 from domicile.claims c
    where c.key = p_key and p_attempt = any (c.attempts) for update;
    if not found then
      raise exception using errcode = 'DM001', message = 'the claim is no longer held';
    end if;
  end if;
  insert into domicile.directory (key, home) values (p_key, domicile.here());
end $$;

-- Waits on a replica until it has replayed a position, at most so many milliseconds.
-- A procedure that commits between looks, because a waiting snapshot could block the very replay
-- that it waits for.
create procedure domicile.await_replay(target pg_lsn, budget_ms integer, inout reached pg_lsn)
language plpgsql as $$
declare
  until timestamptz := clock_timestamp() + budget_ms * interval '1 millisecond';
begin
  loop
    reached := pg_last_wal_replay_lsn();
    exit when reached is null or reached >= target or clock_timestamp() >= until;
    commit;
    perform pg_sleep(0.001);
    commit;
  end loop;
end $$;

create function domicile.pulse() returns void
language sql security definer set search_path = pg_catalog, domicile as $$
  -- Many edges beat; one in 400 ms writes.
  insert into domicile.pulses as p (region, system_id, timeline, lsn, at)
  select domicile.here(), (select system_identifier from pg_control_system()),
    ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int,
    pg_current_wal_insert_lsn(), clock_timestamp()
  on conflict (region) do update
    set system_id = excluded.system_id, timeline = excluded.timeline,
        lsn = excluded.lsn, at = excluded.at
    where p.at < clock_timestamp() - interval '400 milliseconds';
$$;
