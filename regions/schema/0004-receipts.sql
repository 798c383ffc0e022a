-- Receipts: what was decided about whom, without saying who, in a chain that shows tampering.
-- Run by a superuser inside one transaction; {{region}} is this region's id. Roles exist already.
--
-- A receipt is written once and never changed. About once a second all receipts that no seal covers
-- yet are sealed: a seal names each of them, holds a digest of each, and is hashed together with the
-- hash of the seal before it. The newest hash travels to the peers, who remember it.
-- `router/receipt-chain.ts` computes all of it again, and its bytes must be these.

-- Every text column takes words of the policy, the catalogue or the code and nothing that a client
-- sent; the checks leave no room for a name or an address.
create table domicile.receipts (
  id            bigint generated always as identity primary key,
  at            timestamptz not null,
  kind          text not null check (kind in ('place', 'forward', 'redirect', 'refuse', 'dropped')),
  -- The same decision about the same subject within one second is one receipt.
  times         integer not null default 1 check (times > 0),
  -- The directory's key: a keyed hash. Null where nobody is known yet.
  subject       bytea check (octet_length(subject) = 16),
  policy        integer not null,
  rule          text check (rule ~ '^[a-z][a-z0-9-]{0,62}$'),
  jurisdiction  text check (jurisdiction ~ '^[a-z][a-z0-9-]{0,62}$'),
  -- The region whose edge sent the request on; null when the client came straight here.
  from_region   text check (from_region ~ '^[a-z][a-z0-9-]{0,31}$'),
  to_region     text check (to_region ~ '^[a-z][a-z0-9-]{0,31}$'),
  reason        text check (reason ~ '^[a-z][a-z-]{0,62}$'),
  -- The pattern that the app registered, such as /users/:user/orders, never a path.
  route         text check (route ~ '^/[!-~]{0,199}$'),
  edge          text not null check (edge ~ '^[a-z][a-z0-9-]{0,31}$')
);
create index receipts_subject on domicile.receipts (subject) where subject is not null;

-- What no seal covers yet. A receipt enters with the transaction that leaves it and goes with the
-- transaction that seals it, so the order of commits does not matter: none is forgotten and none is
-- taken twice. Comparing ids or transaction numbers instead goes wrong with late commits, or after
-- a restore into another cluster.
create table domicile.receipts_due (id bigint primary key);

create table domicile.receipt_seals (
  seq       bigint primary key check (seq > 0),
  at        timestamptz not null,
  ids       bigint[] not null check (cardinality(ids) > 0),
  -- 32 bytes for each of the ids, in their order.
  digests   bytea not null check (octet_length(digests) = 32 * cardinality(ids)),
  previous  bytea not null check (octet_length(previous) = 32),
  hash      bytea not null check (octet_length(hash) = 32)
);
-- Digests do not compress.
alter table domicile.receipt_seals alter column digests set storage external;

-- Where a shortened chain begins: this seal and all before it were let go.
create table domicile.receipt_checkpoints (
  seq        bigint primary key,
  hash       bytea not null,
  sealed_at  timestamptz not null,
  at         timestamptz not null default clock_timestamp()
);

-- Sealers lock this row, and nobody else does: leaving a receipt waits for no one.
create table domicile.receipt_chain (one boolean primary key default true check (one));
insert into domicile.receipt_chain default values;

-- How far each edge process has come, so that a batch that is sent again is taken once.
create table domicile.receipt_senders (
  sender  uuid primary key,
  number  bigint not null,
  at      timestamptz not null
);

-- The newest seal of each region. The row of this one is written here, those of the others arrive
-- through their airlocks.
create table domicile.anchors (
  region  text primary key,
  seq     bigint not null,
  hash    bytea not null,
  at      timestamptz not null
);

-- Every head that this region has been shown, its own among them. It is not published, so that no
-- other region can make this one forget.
create table domicile.anchors_seen (
  region   text not null,
  seq      bigint not null,
  hash     bytea not null,
  at       timestamptz not null,
  seen_at  timestamptz not null default clock_timestamp(),
  -- It came after a head that was as long or longer.
  back     boolean not null,
  primary key (region, seq, hash)
);
create index anchors_seen_time on domicile.anchors_seen (region, seen_at);

-- One part of what is hashed. A length in front of each part makes the whole unambiguous.
create function domicile.receipt_part(p_bytes bytea) returns bytea
language sql immutable parallel safe
  return coalesce('\x01'::bytea || int4send(octet_length(p_bytes)) || p_bytes, '\x00'::bytea);

create function domicile.receipt_part(p_text text) returns bytea
language sql stable parallel safe
  return domicile.receipt_part(convert_to(p_text, 'UTF8'));

create function domicile.receipt_instant(p_at timestamptz) returns text
language sql immutable parallel safe
  return (extract(epoch from p_at) * 1000000)::bigint::text;

-- What a receipt says. Its id is not among it: the seal holds the id beside the digest, so two
-- receipts that have changed places can be told from two that were changed.
create function domicile.receipt_digest(r domicile.receipts) returns bytea
language sql stable parallel safe
  return sha256(
    domicile.receipt_part('domicile receipt')
    || domicile.receipt_part(domicile.receipt_instant(r.at))
    || domicile.receipt_part(r.kind)
    || domicile.receipt_part(r.times::text)
    || domicile.receipt_part(r.subject)
    || domicile.receipt_part(r.policy::text)
    || domicile.receipt_part(r.rule)
    || domicile.receipt_part(r.jurisdiction)
    || domicile.receipt_part(r.from_region)
    || domicile.receipt_part(r.to_region)
    || domicile.receipt_part(r.reason)
    || domicile.receipt_part(r.route)
    || domicile.receipt_part(r.edge));

-- A newcomer's receipt, in the transaction that settles them. Nobody can leave one about anybody
-- else: the directory's row must come from this very transaction.
create function domicile.leave_placement(
  p_subject bytea, p_policy integer, p_rule text, p_jurisdiction text, p_from text, p_route text,
  p_edge text
) returns void
language plpgsql security definer set search_path = pg_catalog, domicile as $$
begin
  perform 1 from domicile.directory d
  where d.key = p_subject and d.home = domicile.here() and d.xmin = pg_current_xact_id()::xid;
  if not found then
    raise exception using errcode = 'DM011',
      message = 'a receipt of a placement is left by the transaction that settles the subject';
  end if;
  with receipt as (
    insert into domicile.receipts
      (at, kind, subject, policy, rule, jurisdiction, from_region, to_region, route, edge)
    values (clock_timestamp(), 'place', p_subject, p_policy, p_rule, p_jurisdiction, p_from,
      domicile.here(), p_route, p_edge)
    returning id
  )
  insert into domicile.receipts_due select id from receipt;
end $$;

-- What an edge has collected since its last batch. False: this batch was here before.
create function domicile.leave_receipts(
  p_sender uuid, p_number bigint, p_edge text, p_receipts jsonb
) returns boolean
language plpgsql security definer
set search_path = pg_catalog, domicile set lock_timeout = '500ms' as $$
begin
  insert into domicile.receipt_senders as s (sender, number, at)
  values (p_sender, p_number, clock_timestamp())
  on conflict (sender) do update set number = excluded.number, at = excluded.at
    where s.number < excluded.number;
  if not found then return false; end if;
  with receipt as (
    insert into domicile.receipts
      (at, kind, times, subject, policy, rule, jurisdiction, from_region, to_region, reason, route,
       edge)
    select clock_timestamp() - r."ageMs" * interval '1 millisecond',
      -- Placements have a door of their own.
      nullif(r.kind, 'place'), r.times, decode(r.subject, 'hex'), r.policy, r.rule, r.jurisdiction,
      r."from", r."to", r.reason, r.route, p_edge
    from jsonb_to_recordset(p_receipts) as r (
      "ageMs" integer, kind text, times integer, subject text, policy integer, rule text,
      jurisdiction text, "from" text, "to" text, reason text, route text)
    returning id
  )
  insert into domicile.receipts_due select id from receipt;
  if p_number = 1 then
    delete from domicile.receipt_senders where at < clock_timestamp() - interval '1 day';
  end if;
  return true;
end $$;

-- Seals what is due, at most so many, and answers how many it were. Every edge asks; the first one
-- does it. It must run in READ COMMITTED, where each statement sees what has been committed before
-- it began: the seal before this one, once the lock is held.
create function domicile.seal_receipts(p_receipts_max integer) returns integer
language plpgsql security definer set search_path = pg_catalog, domicile as $$
declare
  last record;
  taken bigint[];
  all_digests bytea;
  sealed_at timestamptz := clock_timestamp();
  sealed_hash bytea;
begin
  if not exists (select from domicile.receipts_due) then return 0; end if;
  perform 1 from domicile.receipt_chain for update skip locked;
  if not found then return 0; end if;

  select s.seq, s.hash, s.at into last from domicile.receipt_seals s order by s.seq desc limit 1;
  if last.seq is null then
    select c.seq, c.hash, c.at into last
    from domicile.receipt_checkpoints c order by c.seq desc limit 1;
  end if;
  -- Many edges ask once a second each; a seal a second is enough unless much is waiting.
  if last.at > sealed_at - interval '700 milliseconds' and (
    select count(*) < p_receipts_max
    from (select from domicile.receipts_due limit p_receipts_max) as waiting
  ) then
    return 0;
  end if;

  with taking as (
    delete from domicile.receipts_due
    where id in (select d.id from domicile.receipts_due d order by d.id limit p_receipts_max)
    returning id
  )
  select array_agg(id order by id) into taken from taking;
  if taken is null then return 0; end if;

  -- A receipt that went before it was sealed gets an empty digest, and so is missed.
  select string_agg(coalesce(domicile.receipt_digest(r), decode(repeat('00', 32), 'hex')), ''
      order by t.id),
    sha256(
      domicile.receipt_part('domicile seal')
      || domicile.receipt_part(domicile.here())
      || domicile.receipt_part((coalesce(last.seq, 0) + 1)::text)
      || domicile.receipt_part(coalesce(last.hash, decode(repeat('00', 32), 'hex')))
      || domicile.receipt_part(domicile.receipt_instant(sealed_at))
      || domicile.receipt_part(cardinality(taken)::text)
      || string_agg(int8send(t.id)
          || coalesce(domicile.receipt_digest(r), decode(repeat('00', 32), 'hex')), ''
        order by t.id))
  into all_digests, sealed_hash
  from unnest(taken) as t (id) left join domicile.receipts r on r.id = t.id;

  insert into domicile.receipt_seals (seq, at, ids, digests, previous, hash)
  values (coalesce(last.seq, 0) + 1, sealed_at, taken, all_digests,
    coalesce(last.hash, decode(repeat('00', 32), 'hex')), sealed_hash);
  insert into domicile.anchors as a (region, seq, hash, at)
  values (domicile.here(), coalesce(last.seq, 0) + 1, sealed_hash, sealed_at)
  on conflict (region) do update
    set seq = excluded.seq, hash = excluded.hash, at = excluded.at;
  return cardinality(taken);
end $$;

-- Lets go of the oldest seals, whole ones, with their receipts, and records where the chain begins
-- from now on. The newest seal stays whatever its age. Not for edges.
create function domicile.forget_seals(p_before timestamptz, p_seals_max integer) returns integer
language plpgsql security definer set search_path = pg_catalog, domicile as $$
declare
  first bigint;
  until bigint;
begin
  perform 1 from domicile.receipt_chain for update skip locked;
  if not found then return 0; end if;
  select min(seq) into first from domicile.receipt_seals;
  select min(seq) - 1 into until from (
    select min(seq) as seq from domicile.receipt_seals where at >= p_before
    union all select max(seq) from domicile.receipt_seals
    union all select first + p_seals_max
  ) as ends;
  if until is null or until < first then return 0; end if;
  insert into domicile.receipt_checkpoints (seq, hash, sealed_at)
  select seq, hash, at from domicile.receipt_seals where seq = until;
  delete from domicile.receipts
  where id in (select unnest(ids) from domicile.receipt_seals where seq <= until);
  delete from domicile.receipt_seals where seq <= until;
  return until - first + 1;
end $$;

-- What the policy's retention lets go of. Less than a day is never meant.
create function domicile.forget_receipts(p_retention_ms bigint) returns integer
language plpgsql security definer set search_path = pg_catalog, domicile as $$
begin
  if p_retention_ms < 86400000 then
    raise exception using errcode = 'DM012', message = 'receipts are kept for a day at least';
  end if;
  return domicile.forget_seals(
    clock_timestamp() - p_retention_ms * interval '1 millisecond', 1000);
end $$;

-- Whether a remembered head adds nothing: a longer one was seen in the same minute, or after a day
-- in the same hour. What contradicts another head is evidence and stays.
create function domicile.is_superseded(h domicile.anchors_seen) returns boolean
language sql stable security definer set search_path = pg_catalog, domicile as $$
  select not h.back
    and h.seen_at < clock_timestamp() - interval '10 minutes'
    and exists (
      select from domicile.anchors_seen later
      where later.region = h.region and later.seq > h.seq and later.seen_at >= h.seen_at
        and later.seen_at < case when h.seen_at < clock_timestamp() - interval '1 day'
          then date_trunc('hour', h.seen_at) + interval '1 hour'
          else date_trunc('minute', h.seen_at) + interval '1 minute' end)
    and not exists (
      select from domicile.anchors_seen back
      where back.region = h.region and back.back and back.seq <= h.seq
        and back.seen_at >= h.seen_at)
$$;

create function domicile.thin_anchors() returns integer
language plpgsql security definer set search_path = pg_catalog, domicile as $$
declare
  gone integer;
begin
  delete from domicile.anchors_seen h where domicile.is_superseded(h);
  get diagnostics gone = row_count;
  return gone;
end $$;

create function domicile.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception using errcode = 'DM010',
    message = format('%I.%I is append-only: %s is refused', tg_table_schema, tg_table_name, tg_op);
end $$;

-- Only what a checkpoint has let go of may be deleted.
create function domicile.refuse_early_end() returns trigger
language plpgsql set search_path = pg_catalog, domicile as $$
begin
  if exists (
    select id from gone
    except
    select unnest(s.ids) from domicile.receipt_seals s
    where s.seq <= (select max(c.seq) from domicile.receipt_checkpoints c)
  ) then
    raise exception using errcode = 'DM010',
      message = 'domicile.receipts is append-only: DELETE is refused';
  end if;
  return null;
end $$;

create function domicile.refuse_early_end_of_seal() returns trigger
language plpgsql set search_path = pg_catalog, domicile as $$
begin
  if old.seq <= (select max(c.seq) from domicile.receipt_checkpoints c) then return old; end if;
  raise exception using errcode = 'DM010',
    message = 'domicile.receipt_seals is append-only: DELETE is refused';
end $$;

create function domicile.refuse_false_checkpoint() returns trigger
language plpgsql set search_path = pg_catalog, domicile as $$
begin
  perform 1 from domicile.receipt_seals s
  where (s.seq, s.hash, s.at) = (new.seq, new.hash, new.sealed_at);
  if found then return new; end if;
  raise exception using errcode = 'DM010', message = 'a checkpoint is a seal that is there';
end $$;

create function domicile.refuse_forgetting() returns trigger
language plpgsql set search_path = pg_catalog, domicile as $$
begin
  if domicile.is_superseded(old) then return old; end if;
  raise exception using errcode = 'DM010',
    message = 'domicile.anchors_seen is append-only: DELETE is refused';
end $$;

-- Runs in the apply worker as well, where an error would stop all replication from that region.
create function domicile.remember_anchor() returns trigger
language plpgsql security definer set search_path = pg_catalog, domicile as $$
begin
  insert into domicile.anchors_seen (region, seq, hash, at, back)
  values (new.region, new.seq, new.hash, new.at, exists (
    select from domicile.anchors_seen s where s.region = new.region and s.seq >= new.seq))
  on conflict do nothing;
  return null;
end $$;

-- ALWAYS: also for a session or a worker that calls itself a replica.
create trigger receipts_update before update on domicile.receipts
  for each row execute function domicile.refuse_change();
create trigger receipts_delete after delete on domicile.receipts
  referencing old table as gone for each statement execute function domicile.refuse_early_end();
create trigger receipts_truncate before truncate on domicile.receipts
  for each statement execute function domicile.refuse_change();
create trigger seals_update before update on domicile.receipt_seals
  for each row execute function domicile.refuse_change();
create trigger seals_delete before delete on domicile.receipt_seals
  for each row execute function domicile.refuse_early_end_of_seal();
create trigger seals_truncate before truncate on domicile.receipt_seals
  for each statement execute function domicile.refuse_change();
create trigger checkpoints_insert before insert on domicile.receipt_checkpoints
  for each row execute function domicile.refuse_false_checkpoint();
create trigger checkpoints_change before update or delete on domicile.receipt_checkpoints
  for each row execute function domicile.refuse_change();
create trigger checkpoints_truncate before truncate on domicile.receipt_checkpoints
  for each statement execute function domicile.refuse_change();
create trigger anchors_seen_update before update on domicile.anchors_seen
  for each row execute function domicile.refuse_change();
create trigger anchors_seen_delete before delete on domicile.anchors_seen
  for each row execute function domicile.refuse_forgetting();
create trigger anchors_seen_truncate before truncate on domicile.anchors_seen
  for each statement execute function domicile.refuse_change();
create trigger anchors_remember after insert or update on domicile.anchors
  for each row execute function domicile.remember_anchor();

alter table domicile.receipts enable always trigger receipts_update;
alter table domicile.receipts enable always trigger receipts_delete;
alter table domicile.receipts enable always trigger receipts_truncate;
alter table domicile.receipt_seals enable always trigger seals_update;
alter table domicile.receipt_seals enable always trigger seals_delete;
alter table domicile.receipt_seals enable always trigger seals_truncate;
alter table domicile.receipt_checkpoints enable always trigger checkpoints_insert;
alter table domicile.receipt_checkpoints enable always trigger checkpoints_change;
alter table domicile.receipt_checkpoints enable always trigger checkpoints_truncate;
alter table domicile.anchors_seen enable always trigger anchors_seen_update;
alter table domicile.anchors_seen enable always trigger anchors_seen_delete;
alter table domicile.anchors_seen enable always trigger anchors_seen_truncate;
alter table domicile.anchors enable always trigger anchors_remember;

revoke execute on all functions in schema domicile from public;
grant execute on function domicile.here() to public;
grant execute on function
  domicile.leave_placement(bytea, integer, text, text, text, text, text) to domicile_writer;
grant execute on function
  domicile.leave_receipts(uuid, bigint, text, jsonb), domicile.seal_receipts(integer),
  domicile.forget_receipts(bigint), domicile.thin_anchors() to domicile_router;
