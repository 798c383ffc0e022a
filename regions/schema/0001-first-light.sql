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

-- Chosen ids are unique in all regions because a majority of regions holds one claim each.
create table domicile.claims (
  key         bytea primary key check (octet_length(key) = 16),
  home        text not null,
  claim       uuid not null,
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

-- Claims an id for a home. Answers who holds it now: the asker, when nobody else did.
-- The same home may take over its own claim, which makes the older attempt void.
create function domicile.claim(p_key bytea, p_home text, p_claim uuid)
returns table (home text, claim uuid, settled boolean)
language plpgsql security definer set search_path = pg_catalog, domicile as $$
begin
  return query select d.home, null::uuid, true from domicile.directory d where d.key = p_key;
  if found then return; end if;
  return query
    insert into domicile.claims as c (key, home, claim) values (p_key, p_home, p_claim)
    on conflict (key) do update
      set claim = case when c.home = excluded.home then excluded.claim else c.claim end
    returning c.home, c.claim, false;
end $$;

create function domicile.release(p_key bytea, p_claim uuid) returns void
language sql security definer set search_path = pg_catalog, domicile as $$
  delete from domicile.claims where key = p_key and claim = p_claim;
$$;

-- Makes the subject live here, in the transaction that stores its first row.
-- A claim that was taken over or released in the meantime stops the transaction.
create function domicile.settle(p_key bytea, p_claim uuid) returns void
language plpgsql security definer set search_path = pg_catalog, domicile as $$
begin
  if p_claim is not null then
    perform 1 from domicile.claims c where c.key = p_key and c.claim = p_claim for update;
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
