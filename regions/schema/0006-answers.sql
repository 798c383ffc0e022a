-- What was answered to a request that carried an idempotency key, so that a retry gets the same.
-- Run by a superuser inside one transaction. Private cluster only; nothing of it is published.
--
-- An answer is stored by the transaction that made its effects, or neither exists. It may hold
-- personal data, so it stays with the subject's rows. `router/once.ts` uses the functions; the
-- handler's own SQL runs under the same login, so each of them finds out by itself whose answers it
-- may touch.

create table domicile.answers (
  -- The subject whose rows the request could touch; '' for rows about nobody.
  scope      text not null,
  -- HMACs of the key and of the request: method, address and body. Neither is kept in clear.
  key        bytea not null check (octet_length(key) = 32),
  request    bytea not null check (octet_length(request) = 32),
  status     integer not null check (status between 200 and 499),
  fields     jsonb not null,
  body       bytea not null,
  stored_at  timestamptz not null default now(),
  primary key (scope, key)
);
create index answers_age on domicile.answers (stored_at);

create function domicile.answer_scope() returns text
language plpgsql stable security definer set search_path = pg_catalog, domicile as $$
declare
  entered text := current_setting('domicile.subject', true);
begin
  if entered is null or entered = '' then return ''; end if;
  return domicile.subject();
end $$;

-- What there is of this key: nothing, so that the caller may go on; a request that is under way; the
-- answer, with whether its subject is at home here by now; or the answer to another request.
--
-- The advisory lock is a signal and nothing more: it spares a duplicate the work and the wait. That
-- there is one answer is the primary key's business, which also holds where two nodes grant one
-- lock. No answer is shown that only this node has: the message makes the caller's commit wait for
-- the standby, and all that was written before it is there by then.
create function domicile.find_answer(p_key bytea, p_request bytea, p_keep_ms bigint)
returns table (
  found text, status integer, fields jsonb, body bytea, resident boolean
)
language plpgsql volatile security definer set search_path = pg_catalog, domicile as $$
declare
  whose text := domicile.answer_scope();
  answer domicile.answers;
begin
  if not pg_try_advisory_xact_lock(('x' || encode(substr(p_key, 1, 8), 'hex'))::bit(64)::bigint) then
    return query select 'in-flight', null::integer, null::jsonb, null::bytea, false;
    return;
  end if;
  select * into answer from domicile.answers a
  where a.scope = whose and a.key = p_key
    and a.stored_at > clock_timestamp() - p_keep_ms * interval '1 millisecond';
  if answer.key is null then
    return query select 'nothing', null::integer, null::jsonb, null::bytea, false;
  elsif answer.request <> p_request then
    return query select 'other-request', null::integer, null::jsonb, null::bytea, false;
  else
    perform pg_logical_emit_message(true, 'domicile', '');
    return query select 'answer', answer.status, answer.fields, answer.body,
      domicile.at_home(whose);
  end if;
end $$;

-- Stores an answer, and fails when there is one already. Called in one packet with COMMIT.
create function domicile.store_answer(
  p_key bytea, p_request bytea, p_keep_ms bigint, p_status integer, p_fields jsonb, p_body bytea
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, domicile set lock_timeout = '200ms' as $$
begin
  insert into domicile.answers as a (scope, key, request, status, fields, body)
  values (domicile.answer_scope(), p_key, p_request, p_status, p_fields, p_body)
  on conflict (scope, key) do update
    set request = excluded.request, status = excluded.status, fields = excluded.fields,
        body = excluded.body, stored_at = excluded.stored_at
    where a.stored_at <= clock_timestamp() - p_keep_ms * interval '1 millisecond';
  if not found then
    raise exception using errcode = 'DM021', message = 'an answer to this key is stored already';
  end if;
end $$;

-- Removes some of what is older than the policy keeps; says how many they were.
create function domicile.forget_answers(p_keep_ms bigint, p_max integer) returns integer
language sql volatile security definer set search_path = pg_catalog, domicile as $$
  with old as (
    select scope, key from domicile.answers
    where stored_at <= clock_timestamp() - p_keep_ms * interval '1 millisecond'
    order by stored_at limit p_max for update skip locked
  ), gone as (
    delete from domicile.answers a using old
    where a.scope = old.scope and a.key = old.key returning 1
  )
  select count(*)::integer from gone
$$;

-- A subject may be settled by a part of a transaction (a savepoint), which has a number of its own,
-- above that of the whole. A row that is visible while its transaction is under way is our own.
create or replace function domicile.leave_placement(
  p_subject bytea, p_policy integer, p_rule text, p_jurisdiction text, p_from text, p_route text,
  p_edge text
) returns void
language plpgsql security definer set search_path = pg_catalog, domicile as $$
declare
  whole bigint := pg_current_xact_id()::text::bigint;
  above bigint;
begin
  -- A row has the lower 32 bits of its number only.
  select ((d.xmin::text::bigint - whole) % 4294967296 + 4294967296) % 4294967296 into above
  from domicile.directory d where d.key = p_subject and d.home = domicile.here();
  if above is null or above >= 2147483648
    or pg_xact_status((whole + above)::text::xid8) <> 'in progress'
  then
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

revoke execute on function
  domicile.answer_scope(),
  domicile.find_answer(bytea, bytea, bigint),
  domicile.store_answer(bytea, bytea, bigint, integer, jsonb, bytea),
  domicile.forget_answers(bigint, integer)
from public;
