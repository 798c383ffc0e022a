/**
 * What does a residency policy say?
 *
 * The checked form of a policy file, as everything else uses it: placement, the compiler to SQL,
 * the router. `policy-file.ts` describes how it is written and `read-policy.ts` turns one into the
 * other. A `Policy` that `readPolicy` returned has no complaints left for the catalogue it was
 * read with.
 */
import type { RegionId, SiteId } from '../regions/catalogue.ts';
import type { Source } from '../regions/yaml-complaint.ts';
import type { Level } from './consistency.ts';
import type { CountryCode } from './countries.ts';
import type { PolicyFile, ReceiptKind } from './policy-file.ts';

export type TableName = string;
export type ColumnName = string;
export type JurisdictionName = string;

export type Policy = {
  /** Grows with every change; regions record which version they run. */
  version: number;
  /** Why this version exists, in the author's words. */
  because: string;
  /** `YYYY-MM-DD`: the day from which this version may be applied. */
  effective: string;
  /** Verified facts about a subject, beside the country, that rules may test. */
  attributes: ReadonlyMap<string, Attribute>;
  jurisdictions: ReadonlyMap<JurisdictionName, Jurisdiction>;
  /** In order: the first rule that matches decides. */
  placement: readonly Rule[];
  /** Every table of the app. What is not named here is refused. */
  tables: ReadonlyMap<TableName, Table>;
  failover: {
    scope: FailoverScope;
    commits: Commits;
    /** Which loss is accepted, in the author's words; with asynchronous commits only. */
    possibleLoss: string | undefined;
    /** The sites that may hold a region's data; a region that is not named has one site. */
    sites: ReadonlyMap<RegionId, readonly SiteId[]>;
    betweenSites: BetweenSites;
  };
  /** How long a stored answer, which may hold personal data, is kept to make retries exact. */
  idempotency: { retentionMs: number };
  /** Where neither a request nor its route says how fresh an answer must be. */
  consistency: Level;
  /** Which decisions leave a receipt at home, and for how long. */
  receipts: { keep: readonly ReceiptKind[]; retentionMs: number };
  /** The file as written and where each key stands, so that later checks can name line and column. */
  written: { document: PolicyFile; source: Source };
};

export type Attribute = {
  values: readonly string[];
  /** Assumed when nothing is said about a subject; undefined: it must be said. */
  default: string | undefined;
};

/** A group of countries under one law, as far as this policy is concerned. */
export type Jurisdiction = {
  name: JurisdictionName;
  title: string;
  /** For `countries: others`, all that no other jurisdiction names. */
  countries: ReadonlySet<CountryCode>;
  /** Where the rows of its subjects may live: primary, replicas, failover. */
  regions: readonly RegionId[];
  /** Where declared mirrors of its subjects' columns may be beside that. */
  copies: readonly RegionId[];
};

export type Rule = {
  rule: string;
  /** All must hold. An empty list holds for everyone. */
  when: readonly Condition[];
  home: RegionId;
  /** The author's reason, or the conditions in words where none was given. */
  because: string;
};

/** The subject's `fact` (`country`, `jurisdiction` or a declared attribute) is one of these. */
export type Condition = { fact: string; oneOf: readonly string[] };

export type Table = SubjectTable | ReferenceTable;

/** Every row belongs to one subject and lives at that subject's home. */
export type SubjectTable = {
  kind: 'subject';
  name: TableName;
  /** The column that holds the subject's id. */
  subject: ColumnName;
  transit: Transit;
  mirrors: readonly Mirror[];
};

/** Rows about nobody: one region writes, every region reads its own copy. */
export type ReferenceTable = { kind: 'reference'; name: TableName; owner: RegionId };

/**
 * May a request body pass through an edge abroad? `proxy`: yes, it is forwarded to the home.
 * `redirect`: no, the client is sent to the home before the body is read.
 */
export type Transit = 'proxy' | 'redirect';

/**
 * Who may take over when a region is lost? `region`: only its own replicas.
 * `jurisdiction`: also another region that every subject there may live in.
 */
export type FailoverScope = 'region' | 'jurisdiction';

/**
 * Who has a commit before it is acknowledged? `synchronous`: one named standby of the region.
 * `quorum`: one of two or more. `asynchronous`: nobody, so a failover may lose the last writes.
 */
export type Commits = 'synchronous' | 'quorum' | 'asynchronous';

/** Who moves a primary to another site of its region: an operator only, or the keeper as well. */
export type BetweenSites = 'order' | 'automatic';

/** Columns of a subject table that may also be read abroad, under a name of their own. */
export type Mirror = {
  as: TableName;
  /** Always with the subject column among them. */
  columns: readonly ColumnName[];
  /** Only rows whose columns have one of these values; empty: all rows. */
  rows: readonly RowCondition[];
  /** The homes whose rows leave. */
  homes: readonly RegionId[];
  /** Where they go; a home in this list receives from the other homes only. */
  to: readonly RegionId[];
};

export type RowCondition = { column: ColumnName; oneOf: readonly Constant[] };
export type Constant = string | number | boolean;

/** One way out of a home: what a publication and a subscription are made from. */
export type Export = { table: TableName; from: RegionId; to: RegionId; mirror: Mirror };

/** Every way out that the policy opens, by table, mirror, home and destination. */
export function exportsOf(policy: Policy): Export[] {
  return [...policy.tables.values()].flatMap((table) =>
    table.kind === 'reference'
      ? []
      : table.mirrors.flatMap((mirror) => waysOut(table.name, mirror)),
  );
}

export function waysOut(table: TableName, mirror: Mirror): Export[] {
  return mirror.homes.flatMap((from) =>
    mirror.to.filter((to) => to !== from).map((to) => ({ table, from, to, mirror })),
  );
}

export function jurisdictionOf(policy: Policy, country: CountryCode): Jurisdiction | undefined {
  return [...policy.jurisdictions.values()].find(({ countries }) => countries.has(country));
}

/**
 * The regions that may take over for `home`: those that every jurisdiction allows whose subjects
 * may live there. None where the policy keeps failover inside the region.
 */
export function failoverRegions(policy: Policy, home: RegionId): RegionId[] {
  if (policy.failover.scope === 'region') return [];
  const laws = [...policy.jurisdictions.values()].filter(({ regions }) => regions.includes(home));
  const [first, ...others] = laws;
  return (first?.regions ?? []).filter(
    (region) => region !== home && others.every(({ regions }) => regions.includes(region)),
  );
}
