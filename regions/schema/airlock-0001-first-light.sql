-- What a region's airlock carries for the router itself. Nothing is written here by hand: rows
-- arrive from the private primary and leave to the peers.

create schema domicile;

create table domicile.directory (
  key         bytea primary key,
  home        text not null,
  epoch       integer not null,
  settled_at  timestamptz not null
);
create unique index directory_identity on domicile.directory (key, home);
alter table domicile.directory replica identity using index directory_identity;

create table domicile.pulses (
  region     text primary key,
  system_id  bigint not null,
  timeline   integer not null,
  lsn        pg_lsn not null,
  at         timestamptz not null
);
