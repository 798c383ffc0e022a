/**
 * How do canaries come into a region's tables, and out again?
 *
 * In through the API at home, like everybody's data. Out by the operator's hand, because few apps
 * can delete a person; what the subject left in any of its tables goes in one transaction.
 */
import type { PlacedCanary } from '../../policies/may-hold.ts';
import { type Attributes, placeSubject } from '../../policies/placement.ts';
import type { Policy, SubjectTable } from '../../policies/policy.ts';
import type { RegionId } from '../../regions/catalogue.ts';
import { type Sql, verbatim } from '../../regions/postgres.ts';
import type { CanaryModule } from './canary-module.ts';

/** Tables that refer to each other are emptied in as many rounds as references are deep. */
const ROUNDS_MAX = 20;

export type CanarySubject = {
  home: RegionId;
  subject: string;
  canaries: readonly PlacedCanary[];
};

/** Facts that make a newcomer live there; undefined when the policy sends nobody there. */
export function factsFor(policy: Policy, home: RegionId): Attributes | undefined {
  const countries = [...policy.jurisdictions.values()].flatMap(({ countries }) => [...countries]);
  for (const country of countries.sort()) {
    const facts = { country };
    const placement = placeSubject(policy, facts);
    if (placement.kind === 'placed' && placement.home === home) return facts;
  }
  return undefined;
}

export type Written = { kind: 'written'; subject: CanarySubject } | NotWritten;
export type NotWritten = { kind: 'not-written'; because: string; subject: CanarySubject };

/** Signs a canary subject up at an edge of its home. Whatever the outcome, rows may be there. */
export async function writeCanaries(given: {
  edge: string;
  home: RegionId;
  facts: Attributes;
  module: CanaryModule;
  draw: () => string;
  requestMsMax: number;
}): Promise<Written> {
  const { edge, home, facts, module, draw, requestMsMax } = given;
  const { subject: id, requests, canaries } = module({ facts, draw });
  const subject: CanarySubject = {
    home,
    subject: id,
    canaries: canaries.map(({ text, columns }) => ({ text, home, columns })),
  };
  for (const { method, path, body } of requests) {
    let response: Response;
    try {
      response = await fetch(new URL(path, edge), {
        method,
        redirect: 'manual',
        signal: AbortSignal.timeout(requestMsMax),
        ...(body !== undefined && {
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        }),
      });
      await response.arrayBuffer();
    } catch (error) {
      const because = `${method} at ${edge} had no answer (${(error as Error).name})`;
      return { kind: 'not-written', because, subject };
    }
    const at = response.headers.get('domicile-home');
    if (!response.ok) {
      const because = `${method} at ${edge} was answered with ${response.status}`;
      return { kind: 'not-written', because, subject };
    }
    if (at !== home) {
      const because = `${method} at ${edge} was answered for home ${at}, not ${home}`;
      return { kind: 'not-written', because, subject };
    }
  }
  return { kind: 'written', subject };
}

/** By a superuser of the home primary, inside a transaction. */
export async function removeSubject(
  sql: Sql,
  tables: readonly SubjectTable[],
  subject: string,
  key: Uint8Array,
): Promise<void> {
  // Rows that refer to other rows go first; which ones those are, the database itself says.
  let left = [...tables];
  for (let round = 0; left.length > 0 && round < ROUNDS_MAX; round++) {
    const free = await unreferenced(sql, left);
    for (const { name, subject: column } of free) {
      // Names come from a checked policy: words that need no quotes.
      const text = `delete from app.${name} where ${column}::text = $subject$${subject}$subject$`;
      await sql(verbatim(text));
    }
    left = left.filter((table) => !free.includes(table));
  }
  await sql`delete from domicile.residents where subject = ${subject}`;
  await sql`delete from domicile.directory where key = ${key} and home = domicile.here()`;
}

/** Of these tables, those that no other one of them refers to; all, when they refer in a circle. */
async function unreferenced(sql: Sql, tables: readonly SubjectTable[]): Promise<SubjectTable[]> {
  const names = tables.map(({ name }) => name);
  const referenced = await sql<{ name: string }[]>`
    select distinct target.relname as name
    from pg_constraint k
    join pg_class source on source.oid = k.conrelid
    join pg_class target on target.oid = k.confrelid
    where k.contype = 'f' and source.oid <> target.oid
      and source.relname = any (${sql.array(names)}) and target.relname = any (${sql.array(names)})
      and source.relnamespace = 'app'::regnamespace and target.relnamespace = 'app'::regnamespace`;
  const blocked = new Set(referenced.map(({ name }) => name));
  const free = tables.filter(({ name }) => !blocked.has(name));
  return free.length > 0 ? free : [...tables];
}
