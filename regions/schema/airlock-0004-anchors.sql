-- The newest seal of each region's receipts, on its way to the peers who remember it.
-- Nothing is written here by hand: the row arrives from the private primary.

create table domicile.anchors (
  region  text primary key,
  seq     bigint not null,
  hash    bytea not null,
  at      timestamptz not null
);
