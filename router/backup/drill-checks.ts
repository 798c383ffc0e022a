/**
 * What must be true of a restored region, besides having the rows?
 *
 * Its constraints hold when they are asked again, its indexes agree with its tables, its rows are of
 * its own residents, the policy in force is in force there, and the app's reads, with the edge's
 * login and row security on, are answered as the live side answers them.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Policy } from '../../policies/policy.ts';
import { readPolicy } from '../../policies/read-policy.ts';
import type { Catalogue, Region } from '../../regions/catalogue.ts';
import { nameBeside } from '../../regions/own-module.ts';
import { LeasePool, type Sql, verbatim } from '../../regions/postgres.ts';
import { formatComplaint } from '../../regions/yaml-complaint.ts';
import type { AuditedWorld } from '../audit/audited-world.ts';
import { checkRowHomes } from '../audit/row-homes.ts';
import { differencesOfCopy } from '../observe-world.ts';
import { type Operator, OperatorError } from '../operator.ts';
import { edgePassword, keyFrom, subjectKeyName } from '../password-names.ts';
import { LOGINS } from '../region-database.ts';
import { SubjectTokens } from '../subject-token.ts';
import type { CheckOutcome, DrillCheck, Instance } from './drill.ts';

const STATEMENT_MS_MAX = 3_600_000;
const limits = { timeoutMs: STATEMENT_MS_MAX };
/** Subjects for whom the app's reads are run. */
const SUBJECTS_MAX = 20;
const NAMED_MAX = 20;

class RollBack extends Error {}

/** Of any database: nothing here knows what Domicile is. */
export const GENERIC_CHECKS: readonly DrillCheck[] = [
  { name: 'constraints', run: ({ pool }) => checkConstraints(pool) },
  { name: 'indexes', run: ({ pool }) => checkIndexes(pool) },
];

type Constraint = { table: string; name: string; definition: string };

/**
 * Each one is made once more beside itself, which reads every row, and taken back. Also those that
 * were never asked about old rows, as the residency rule is: a backup is all old rows.
 */
async function checkConstraints(pool: LeasePool): Promise<CheckOutcome> {
  const constraints = await pool.run(
    (sql) => sql<Constraint[]>`
      select format('%I.%I', n.nspname, c.relname) as table, k.conname as name,
        regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '') as definition
      from pg_constraint k
      join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
      where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
        and k.conparentid = 0 and k.contype in ('c', 'f') and k.conenforced
      order by 1, 2`,
    limits,
  );
  const findings: string[] = [];
  for (const { table, name, definition } of constraints) {
    const outcome = await pool
      .transaction(async (sql) => {
        await sql(verbatim(`alter table ${table} add constraint domicile_drill ${definition}`));
        throw new RollBack();
      }, limits)
      .catch((error: unknown) => {
        if (error instanceof RollBack) return undefined;
        throw error;
      });
    if (outcome?.kind === 'not_applied' && outcome.failure.kind === 'rejected') {
      findings.push(
        `constraint ${name} of ${table} does not hold for the rows that are there (${outcome.failure.sqlstate})`,
      );
    } else if (outcome !== undefined) {
      return { findings, looked: 0, because: `${name} of ${table} could not be asked again` };
    }
  }
  return { findings, looked: constraints.length };
}

/** With amcheck where the installation has it; else by building them anew, which finds doubles. */
async function checkIndexes(pool: LeasePool): Promise<CheckOutcome> {
  return pool.run(async (sql) => {
    const indexes = await sql<{ oid: string; quoted: string; name: string; btree: boolean }[]>`
      select i.indexrelid::text as oid, format('%I.%I', n.nspname, c.relname) as quoted,
        n.nspname || '.' || c.relname as name, a.amname = 'btree' as btree
      from pg_index i join pg_class c on c.oid = i.indexrelid
      join pg_namespace n on n.oid = c.relnamespace join pg_am a on a.oid = c.relam
      where c.relkind = 'i' and n.nspname !~ '^pg_(toast|temp)' and n.nspname <> 'pg_catalog'
        and n.nspname <> 'information_schema' order by 3`;
    const [amcheck] = await sql`select from pg_available_extensions where name = 'amcheck'`;
    if (amcheck !== undefined) await sql`create extension if not exists amcheck schema pg_catalog`;
    const findings: string[] = [];
    for (const { oid, quoted, name, btree } of indexes) {
      try {
        if (amcheck === undefined) await sql(verbatim(`reindex index ${quoted}`));
        else if (btree) await sql`select bt_index_check(${oid}::oid, true, true)`;
      } catch (error) {
        if (findings.length < NAMED_MAX) {
          findings.push(`index ${name} does not agree with its table: ${(error as Error).message}`);
        }
      }
    }
    return { findings, looked: indexes.length };
  }, limits);
}

/** What the app's `drill.ts`, beside the app module, exports as its default. */
export type DrillReads = {
  /** Reads of one subject's rows. */
  ofSubject: Readonly<Record<string, (sql: Sql, subject: string) => Promise<readonly object[]>>>;
  /** Reads that belong to nobody. */
  ofNobody: Readonly<Record<string, (sql: Sql) => Promise<readonly object[]>>>;
};

export type ChecksFor = {
  region: Region;
  operator: Operator;
  /** The app module. */
  app: string;
};

/** Of a region of Domicile. */
export async function regionChecks({ region, operator, app }: ChecksFor): Promise<DrillCheck[]> {
  return [
    ...GENERIC_CHECKS,
    {
      name: 'row homes',
      run: async (instance) => {
        const policy = await policyIn(instance, operator.catalogue);
        if (typeof policy === 'string') return { findings: [], looked: 0, because: policy };
        const copy = copyAsWorld(region, operator, instance);
        const { findings, looked } = await checkRowHomes(copy, policy);
        return { findings: findings.map(({ words }) => words), looked };
      },
    },
    {
      name: 'catalogues against the policy in force',
      run: async (instance) => {
        const policy = await policyIn(instance, operator.catalogue);
        if (typeof policy === 'string') return { findings: [], looked: 0, because: policy };
        try {
          const found = await differencesOfCopy(instance.pool, region.id, policy, operator);
          return { findings: found.map(({ words }) => words), looked: 1 };
        } catch (error) {
          if (!(error instanceof OperatorError)) throw error;
          return { findings: [error.message], looked: 1 };
        }
      },
    },
    await readsOf({ region, operator, app }),
  ];
}

/** The policy that the restored region itself says is in force. */
async function policyIn({ pool }: Instance, catalogue: Catalogue): Promise<Policy | string> {
  const [row] = await pool.run(
    (sql) => sql<{ version: number; text: string }[]>`
      select version, text from domicile.policies
      where in_force_at is not null order by version desc limit 1`,
    limits,
  );
  if (row === undefined) return 'no policy is in force there';
  const read = readPolicy(row.text, `policy version ${row.version}`, catalogue);
  return 'policy' in read ? read.policy : read.complaints.map(formatComplaint).join('; ');
}

/** A world of one region with one server and nobody to compare it with. */
function copyAsWorld(region: Region, operator: Operator, { endpoint }: Instance): AuditedWorld {
  const { name, host, port } = endpoint;
  const alone: Region = { ...region, nodes: [{ name, host, port }], airlocks: [], edges: [] };
  const catalogue: Catalogue = { regions: new Map([[region.id, alone]]), distances: [] };
  return {
    reports: '',
    operator: { ...operator, catalogue },
    files: { app: '', policy: '', regions: '', schema: '', migrations: '' },
    catalogue,
    nodes: [{ name, region: alone, kind: 'private', peers: [] }],
    superuser: () => endpoint,
    key: operator.key,
    edges: [],
    machine: undefined,
  };
}

type Answers = { subjects: string[]; answers: Map<string, string> };

async function readsOf({ region, operator, app }: ChecksFor): Promise<DrillCheck> {
  const name = 'the app’s reads';
  const reads = await loadReads(app);
  if ('because' in reads) {
    return { name, run: async () => ({ findings: [], looked: 0, because: reads.because }) };
  }
  return {
    name,
    live: async (sql): Promise<Answers> => {
      // Not the first ones: those are the oldest, and the newest are what is lost first.
      const rows = await sql<{ subject: string }[]>`
        select subject from domicile.residents order by settled_at desc, subject
        limit ${SUBJECTS_MAX}`;
      const subjects = rows.map(({ subject }) => subject);
      const answers = new Map<string, string>();
      for (const [read, ask] of Object.entries(reads.ofNobody)) {
        answers.set(read, JSON.stringify(await ask(sql)));
      }
      for (const subject of subjects) {
        for (const [read, ask] of Object.entries(reads.ofSubject)) {
          answers.set(`${read} ${subject}`, JSON.stringify(await ask(sql, subject)));
        }
      }
      return { subjects, answers };
    },
    run: async ({ endpoint }, live) => {
      const { subjects, answers } = live as Answers;
      const pool = new LeasePool({
        endpoint: {
          ...endpoint,
          user: LOGINS.reader,
          password: operator.password(edgePassword(region.id)),
        },
        connectionsMax: 1,
        waitersMax: 1,
        connectTimeoutMs: STATEMENT_MS_MAX,
        settings: { application_name: 'domicile drill', timezone: 'UTC' },
      });
      const tokens = new SubjectTokens(keyFrom(operator.password(subjectKeyName(region.id))));
      try {
        return await pool.run(async (sql) => {
          const enter = async (subject: string) => {
            const entered = tokens.of(subject, 'direct');
            await sql`select set_config('domicile.subject', ${entered}, false)`;
          };
          const findings: string[] = [];
          const say = (words: string) => {
            if (findings.length < NAMED_MAX) findings.push(words);
          };
          let looked = 0;
          for (const [read, ask] of Object.entries(reads.ofNobody)) {
            looked++;
            if (JSON.stringify(await ask(sql)) !== answers.get(read)) {
              say(`${read} is answered differently than by the live primary`);
            }
          }
          for (const [at, subject] of subjects.entries()) {
            const other = subjects[(at + 1) % subjects.length] ?? subject;
            for (const [read, ask] of Object.entries(reads.ofSubject)) {
              looked++;
              await enter(subject);
              if (JSON.stringify(await ask(sql, subject)) !== answers.get(`${read} ${subject}`)) {
                say(`${read} of a resident is answered differently than by the live primary`);
              }
              if (other === subject) continue;
              await enter(other);
              if ((await ask(sql, subject)).length > 0) {
                say(`${read} shows a resident's rows to another one`);
              }
            }
          }
          return { findings, looked };
        }, limits);
      } finally {
        await pool.close({ timeoutMs: 1_000 });
      }
    },
  };
}

async function loadReads(app: string): Promise<DrillReads | { because: string }> {
  const path = join(dirname(app), nameBeside(app, 'drill'));
  if (!existsSync(path)) return { because: `${path} is missing, which says what the app reads` };
  const loaded = (await import(pathToFileURL(path).href)) as { default?: Partial<DrillReads> };
  const { ofSubject, ofNobody } = loaded.default ?? {};
  if (ofSubject === undefined || ofNobody === undefined) {
    return { because: `${path} must export an object with ofSubject and ofNobody as its default` };
  }
  return { ofSubject, ofNobody };
}
