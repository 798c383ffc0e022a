-- PostgreSQL checks again whose a row is and where it lives, whatever the router does.
-- Run by a superuser inside one transaction; {{region}} is this region's id.

-- Whoever is at home here, by the id that the app uses. Never published: abroad, a subject is known
-- by its directory key alone. Law and rule are what a later policy is compared with.
create table domicile.residents (
  subject         text primary key,
  key             bytea not null unique check (octet_length(key) = 16),
  jurisdiction    text not null,
  rule            text not null,
  policy_version  integer not null,
  settled_at      timestamptz not null default now()
);

-- The two halves of the HMAC key (RFC 2104) that an edge of this region signs subject tokens with:
-- the key xor 0x36 and the key xor 0x5c, padded to the 64 bytes that SHA-256 takes at a time.
create table domicile.subject_key (
  single     boolean primary key default true check (single),
  inner_pad  bytea not null check (octet_length(inner_pad) = 64),
  outer_pad  bytea not null check (octet_length(outer_pad) = 64)
);

-- Whether a row of this subject may be stored here. Behind a CHECK constraint, which binds the
-- apply workers of replication and superusers as well.
create function domicile.at_home(p_subject text) returns boolean
language sql stable parallel safe security definer set search_path = pg_catalog, domicile as $$
  select exists (select from domicile.residents where subject = p_subject)
$$;

-- The subject that this connection works for, as the edge has entered it. The setting
-- `domicile.subject` reads: 32 hex digits of HMAC-SHA256, then `d` for a request that came straight
-- to its home or `f` for one that passed through a foreign edge, then the subject's id.
-- A row policy calls this once for each query. Whoever writes SQL into a handler can change the
-- setting, but cannot sign another one.
create function domicile.subject() returns text
language plpgsql stable parallel safe security definer set search_path = pg_catalog, domicile as $$
declare
  entered text := current_setting('domicile.subject', true);
  signed text := substr(entered, 33);
  key record;
begin
  if entered is null or entered = '' then
    raise exception using errcode = 'DM002', message = 'no subject has been entered on this connection';
  end if;
  select k.inner_pad, k.outer_pad into key from domicile.subject_key k;
  if left(entered, 32) is distinct from
    left(encode(sha256(key.outer_pad || sha256(key.inner_pad || convert_to(signed, 'UTF8'))), 'hex'), 32)
  then
    raise exception using errcode = 'DM003', message = 'the subject of this connection is not signed by an edge of this region';
  end if;
  return substr(signed, 2);
end $$;

-- The same, for tables whose data may not pass through a foreign edge.
create function domicile.subject_direct() returns text
language plpgsql stable parallel safe security definer set search_path = pg_catalog, domicile as $$
declare
  subject text := domicile.subject();
begin
  if substr(current_setting('domicile.subject', true), 33, 1) <> 'd' then
    raise exception using errcode = 'DM004', message = 'this request has passed through a foreign edge';
  end if;
  return subject;
end $$;

-- A subject as the type of its column. Two spellings of one value would be two subjects for the
-- directory and one for the table, so only the spelling that PostgreSQL prints is let in.
create function domicile.spelt_as(p_subject text, p_type regtype) returns text
language plpgsql stable parallel safe set search_path = pg_catalog as $$
declare
  printed text;
begin
  begin
    execute format('select %L::%s::text', p_subject, p_type) into printed;
  exception when data_exception then
    printed := null;
  end;
  if printed is distinct from p_subject then
    raise exception using errcode = 'DM005',
      message = format('the subject is not spelt as a %s', p_type);
  end if;
  return p_subject;
end $$;

-- Settling now also writes down who it is and which rule placed them.
drop function domicile.settle(bytea, uuid);
create function domicile.settle(
  p_key bytea, p_attempt uuid, p_subject text, p_jurisdiction text, p_rule text, p_version integer
) returns void
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
  insert into domicile.residents (subject, key, jurisdiction, rule, policy_version)
  values (p_subject, p_key, p_jurisdiction, p_rule, p_version);
end $$;
