/**
 * Under which policy is one request handled, and which copies may serve it here?
 *
 * One object that never changes: version, rules and openings belong together. A request takes it
 * once, at its beginning, so that it cannot see half of a change. Which object is the current one,
 * `policy-feed.ts` knows.
 */
import { exportsOf, type Policy, type TableName } from '../policies/policy.ts';
import type { RegionId } from '../regions/catalogue.ts';

/** A copy of another home's data that is filled and followed here: a mirror or a reference table. */
export type Opening = { name: string; home: RegionId };

export type Openings =
  /** The databases of this region were never heard, so no copy is known to be filled. */
  | { kind: 'unread' }
  /** No version was ever recorded in this region: a copy is open if the policy allows it. */
  | { kind: 'never-recorded' }
  | { kind: 'recorded'; open: readonly Opening[] };

export type PolicyParts = {
  here: RegionId;
  policy: Policy;
  /** Of the text, in hex. */
  sha256: string;
  /** Whether the region's own database says so, or only the file that the edge was started with. */
  source: 'recorded' | 'file';
  openings: Openings;
};

export class PolicyInForce {
  readonly policy: Policy;
  readonly version: number;
  readonly sha256: string;
  readonly source: 'recorded' | 'file';
  readonly openings: Openings;
  /** The field `Domicile-Policy`, a structured field of RFC 9651: `3`, or `3;file` from a file. */
  readonly field: string;
  readonly #tables: ReadonlyMap<string, TableName>;
  readonly #copies: ReadonlyMap<string, ReadonlySet<RegionId>>;

  constructor({ here, policy, sha256, source, openings }: PolicyParts) {
    this.policy = policy;
    this.version = policy.version;
    this.field = source === 'recorded' ? `${policy.version}` : `${policy.version};file`;
    this.sha256 = sha256;
    this.source = source;
    this.openings = openings;
    this.#tables = new Map(mirrorTables(policy));
    this.#copies = copiesOf(openings, copiesAllowed(policy, here));
  }

  declaresMirror(name: string): boolean {
    return this.#tables.has(name);
  }

  /** The table behind a mirror; undefined when the policy has no such mirror. */
  tableOfMirror(name: string): TableName | undefined {
    return this.#tables.get(name);
  }

  /** Whether this region's copy of `home`'s rows may be read: allowed by the policy, and open. */
  serves(name: string, home: RegionId): boolean {
    return this.#copies.get(name)?.has(home) ?? false;
  }
}

/** What another edge said of its policy in its answer. */
export function policyFromField(field: string): { version: number; recorded: boolean } | undefined {
  const [, version, file] = /^(\d{1,10})(;file)?$/.exec(field) ?? [];
  return version === undefined
    ? undefined
    : { version: Number(version), recorded: file === undefined };
}

function mirrorTables({ tables }: Policy): [string, TableName][] {
  return [...tables.values()].flatMap((table) =>
    table.kind === 'reference' ? [] : table.mirrors.map(({ as }) => [as, table.name]),
  );
}

function copiesAllowed(policy: Policy, here: RegionId): Opening[] {
  const mirrors = exportsOf(policy)
    .filter(({ to }) => to === here)
    .map(({ mirror, from }) => ({ name: mirror.as, home: from }));
  const references = [...policy.tables.values()].flatMap((table) =>
    table.kind === 'reference' && table.owner !== here
      ? [{ name: table.name, home: table.owner }]
      : [],
  );
  return [...mirrors, ...references];
}

function copiesOf(openings: Openings, allowed: readonly Opening[]): Map<string, Set<RegionId>> {
  const copies = new Map<string, Set<RegionId>>();
  for (const { name, home } of allowed) {
    if (!isOpen(openings, name, home)) continue;
    copies.set(name, (copies.get(name) ?? new Set()).add(home));
  }
  return copies;
}

function isOpen(openings: Openings, name: string, home: RegionId): boolean {
  switch (openings.kind) {
    case 'unread':
      return false;
    case 'never-recorded':
      return true;
    case 'recorded':
      return openings.open.some((one) => one.name === name && one.home === home);
  }
}
