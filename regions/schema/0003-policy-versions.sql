-- Which policy is in force here, what may be read here of other homes' data, and who is changing it.
-- Private cluster only; nothing of it is published.

create table domicile.policies (
  version      integer primary key check (version > 0),
  text         text not null,
  sha256       text not null,
  because      text not null,
  effective    date not null,
  applied_by   text not null,
  recorded_at  timestamptz not null default now(),
  -- Null until edges may use it; the greatest version with a time is in force.
  in_force_at  timestamptz
);

-- What edges may read here of another home's data: filled, followed and granted.
create table domicile.openings (
  name   text not null,  -- a mirror's name or a reference table's
  home   text not null,  -- whose rows
  since  timestamptz not null default now(),
  primary key (name, home)
);

-- One small row for edges to poll: it grows in every transaction that changes one of the above.
create table domicile.policy_stamp (
  "only"  boolean primary key default true check ("only"),
  stamp   bigint not null
);
insert into domicile.policy_stamp (stamp) values (1);

create function domicile.raise_policy_stamp() returns trigger
language plpgsql set search_path = pg_catalog, domicile as $$
begin
  update domicile.policy_stamp set stamp = stamp + 1;
  return null;
end $$;
create trigger policies_stamp after insert or update or delete or truncate on domicile.policies
  for each statement execute function domicile.raise_policy_stamp();
create trigger openings_stamp after insert or update or delete or truncate on domicile.openings
  for each statement execute function domicile.raise_policy_stamp();

-- Who changes this region's clusters now. Taken and given back by comparing the holder, in every
-- region in the same order, so two operators cannot interleave. That the holder still lives is told
-- by an advisory lock on its number, which its connection holds.
create table domicile.policy_apply (
  "only"       boolean primary key default true check ("only"),
  holder       bigint,
  held_by      text,
  version      integer,
  -- What the holder set out to do, and the step it was last seen at.
  plan         text,
  step         text,
  taken_at     timestamptz,
  released_at  timestamptz
);
insert into domicile.policy_apply default values;

-- What a policy took back, from where: since when no query finds it, since when no file holds it.
create table domicile.withdrawals (
  what               text not null,
  cluster            text not null,
  version            integer not null,
  unqueryable_since  timestamptz,
  off_disk_since     timestamptz,
  -- What still has to go before the files are proven to be without it.
  remains            text,
  primary key (what, cluster, version)
);
