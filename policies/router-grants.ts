/**
 * Who may use what in the schema that the router itself brings?
 *
 * The whole list: a migration that adds a function or a table to `domicile` adds its line here, or
 * nobody but a superuser can use it. What is granted and not listed is taken back by an apply.
 */
import type { Of } from './cluster-state.ts';

export type RouterRoles = {
  writer: string;
  reader: string;
  abroad: string;
  router: string;
  feed: string;
};

/** `public` stands for everybody. */
type Grantee = keyof RouterRoles | 'public';

const GRANTS: readonly [privilege: string, on: string, to: readonly Grantee[]][] = [
  ['usage', 'schema domicile', ['writer', 'reader', 'abroad', 'router', 'feed']],
  ['execute', 'function domicile.here()', ['public']],
  ['execute', 'function domicile.settle(bytea, uuid, text, text, text, integer)', ['writer']],
  ['execute', 'function domicile.at_home(text)', ['writer']],
  ['execute', 'function domicile.subject()', ['reader', 'writer']],
  ['execute', 'function domicile.subject_direct()', ['reader', 'writer']],
  ['execute', 'function domicile.spelt_as(text, regtype)', ['reader', 'writer']],
  ['execute', 'function domicile.claim(bytea, text, uuid)', ['router']],
  ['execute', 'function domicile.release(bytea, uuid)', ['router']],
  ['execute', 'function domicile.pulse()', ['router']],
  [
    'execute',
    'function domicile.leave_placement(bytea, integer, text, text, text, text, text)',
    ['writer'],
  ],
  ['execute', 'function domicile.leave_receipts(uuid, bigint, text, jsonb)', ['router']],
  ['execute', 'function domicile.seal_receipts(integer)', ['router']],
  ['execute', 'function domicile.forget_receipts(bigint)', ['router']],
  ['execute', 'function domicile.thin_anchors()', ['router']],
  ['execute', 'function domicile.find_answer(bytea, bytea, bigint)', ['writer']],
  [
    'execute',
    'function domicile.store_answer(bytea, bytea, bigint, integer, jsonb, bytea)',
    ['writer'],
  ],
  ['execute', 'function domicile.forget_answers(bigint, integer)', ['router']],
  ['execute', 'procedure domicile.await_replay(pg_lsn, integer, pg_lsn)', ['reader', 'router']],
  ['execute', 'function domicile.stands_at()', ['reader', 'writer', 'abroad', 'router']],
  ['execute', 'function domicile.timeline_history(integer)', ['router']],
  ['execute', 'function domicile.released_up_to(text[])', ['router']],
  ['execute', 'function domicile.on_timeline(integer)', ['writer', 'router']],
  ['execute', 'function domicile.beside_gate(integer)', ['writer', 'router']],
  ['execute', 'function domicile.server_stats()', ['router']],
  ['select', 'table domicile.audits', ['router']],
  ['select', 'table domicile.gate', ['writer']],
  ['select', 'table domicile.directory', ['router']],
  ['select', 'table domicile.pulses', ['router']],
  ['select', 'table domicile.policies', ['router']],
  ['select', 'table domicile.openings', ['router']],
  ['select', 'table domicile.policy_stamp', ['router']],
  ['execute', 'function pg_control_system()', ['router']],
];

export function grantsOnRouterSchema(roles: RouterRoles): Of<'grant'>[] {
  return GRANTS.flatMap(([privilege, on, to]) =>
    to.map((grantee) => ({
      kind: 'grant' as const,
      privilege,
      on,
      to: grantee === 'public' ? 'public' : roles[grantee],
    })),
  );
}
