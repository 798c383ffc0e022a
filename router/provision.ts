/**
 * What must be in the databases before an edge can serve an app under its policy?
 *
 * Roles, the schema `domicile`, the app's own schema, and the path on which reference data and
 * mirrors travel: private primary to airlock to peers. Everything looks first and changes what is
 * missing, so it can be repeated after any interruption. It needs superusers; edges do not.
 */
import { createHash } from 'node:crypto';
import {
  FEED_ATTRIBUTES,
  FEED_ROLE,
  PEER_ATTRIBUTES,
  peerRole,
} from '../policies/desired-state.ts';
import { attributesText } from '../policies/plan.ts';
import type { Policy } from '../policies/policy.ts';
import type { Region, RegionId } from '../regions/catalogue.ts';
import {
  DatabaseError,
  type Endpoint,
  runScript,
  type Sql,
  verbatim,
} from '../regions/postgres.ts';
import { isVerifierOf } from '../regions/scram.ts';
import { adoptResidents } from './adopt-residents.ts';
import type { Applied } from './apply-plan.ts';
import { directoryKeyOf } from './directory.ts';
import { type Operator, OperatorError, Session } from './operator.ts';
import {
  DIRECTORY_KEY_NAME,
  edgePassword,
  feedPassword,
  peerPassword,
  subjectKeyName,
} from './password-names.ts';
import type { Migration } from './read-migrations.ts';
import { recordedPolicyInForce } from './recorded-policy.ts';
import { LOGINS } from './region-database.ts';
import { rolesThere } from './roles-there.ts';
import { rollOutSchema } from './roll-out-schema.ts';
import { hmacPads } from './subject-token.ts';

export type ProvisionOptions = {
  operator: Operator;
  policy: Policy;
  /** The policy file as written. */
  policyText: string;
  /** `YYYY-MM-DD`; undefined: the date of the servers. */
  today: string | undefined;
  by: string;
  /** What the router's own schema is made of: file name and text, in order. */
  migrations: readonly Script[];
  airlockMigrations: readonly Script[];
  /** The app's schema, run once in schema `app` of every region. */
  appSchema: Script;
  /** What changes the app's tables after that, each once. */
  appMigrations: readonly Migration[];
  report: (step: string) => void;
  /** What is made before the policy is applied, one thing at a time. */
  detail?: (step: string) => void;
  /** Where edges may serve already: how long they may go on serving from what was closed. */
  edgesNoticeMs?: number;
  /** Aborting it stops between two steps; what is missing is made the next time. */
  signal?: AbortSignal;
};

export type Script = { name: string; text: string };

export { edgePassword, keyFrom, peerPassword, subjectKeyName } from './password-names.ts';

const STATEMENT_MS_MAX = 30_000;
const limits = { timeoutMs: STATEMENT_MS_MAX };

export class ProvisionError extends Error {}

/** What the world runs under: the policy that was given, or a later one that is in force already. */
export type Provisioned = { policy: Policy; text: string };

/** Makes what is missing. @throws ProvisionError when what is there cannot be what is wanted. */
export async function provision(options: ProvisionOptions): Promise<Provisioned> {
  const { operator, report, signal } = options;
  const session = new Session(operator);
  try {
    const regions = [...operator.catalogue.regions.values()];
    await Promise.all(regions.map((region) => provisionSchemas(options, session, region)));
    report('schemas and roles are in place');
    signal?.throwIfAborted();
    const inForce = await recordedPolicyInForce(session);
    // A start does not take back what somebody has put in force since.
    const later = inForce !== undefined && inForce.policy.version > options.policy.version;
    const { policy, text } = later ? inForce : { policy: options.policy, text: options.policyText };
    if (later) {
      report(
        `policy version ${policy.version} is in force; the file states version ${options.policy.version}, which is passed over`,
      );
    }
    if (inForce === undefined) {
      await Promise.all(regions.map(({ id }) => adopt(options, session, id)));
    }
    const applied = await rollOutSchema({
      operator,
      migrations: options.appMigrations,
      policy,
      text,
      today: options.today,
      by: options.by,
      edgesNoticeMs: options.edgesNoticeMs ?? 0,
      // It costs a second, and the next start looks anyway.
      lookAgain: false,
      report: () => {},
      ...(signal !== undefined && { signal }),
    });
    if (applied.kind !== 'applied') throw new ProvisionError(inWords(applied));
    for (const [region, scripts] of applied.ran) report(`${region} has run ${scripts.join(', ')}`);
    report(
      applied.steps === 0
        ? `policy version ${policy.version} is in force; every cluster is as it wants it`
        : `policy version ${policy.version} is in force in every region`,
    );
    return { policy, text };
  } catch (error) {
    if (error instanceof OperatorError) throw new ProvisionError(error.message);
    throw error;
  } finally {
    await session.close();
  }
}

/** Regions that were set up before residents were written down. */
async function adopt(
  { operator, policy, report }: ProvisionOptions,
  session: Session,
  region: RegionId,
): Promise<void> {
  const key = operator.key(DIRECTORY_KEY_NAME);
  await session.transaction(region, async (sql) => {
    const adoption = await adoptResidents(sql, policy, region, (subject) =>
      directoryKeyOf(key, subject),
    );
    if (adoption.adopted > 0) report(`${region}: ${adoption.adopted} residents are adopted`);
  });
}

function inWords(applied: Exclude<Applied, { kind: 'applied' }>): string {
  if (applied.kind === 'refused') return applied.because.join('\n');
  return applied.failures.map(({ cluster, step, why }) => `${cluster}: ${step}: ${why}`).join('\n');
}

async function provisionSchemas(
  { operator, migrations, airlockMigrations, appSchema, detail = () => {} }: ProvisionOptions,
  session: Session,
  { id, airlocks }: Region,
): Promise<void> {
  const { superuser, password, key } = operator;
  const home = superuser((await session.nodeOf(id)).name);
  const roles: Role[] = Object.values(LOGINS).map((name) => ({
    name,
    secret: password(edgePassword(id)),
    attributes: ['login'],
  }));
  roles.push({ name: FEED_ROLE, secret: password(feedPassword(id)), attributes: FEED_ATTRIBUTES });
  await Promise.all([
    session.on(id, async (sql) => {
      const told = (step: string) => detail(`${id}: ${step}`);
      await ensureRoles(sql, roles, told);
      await migrate(home, sql, filled(migrations, id), told);
      await keepSubjectKey(sql, key(subjectKeyName(id)), told);
      await migrate(home, sql, [inAppSchema(appSchema)], told);
    }),
    ...airlocks.map(({ name, peers }) =>
      session.on(name, async (sql) => {
        const told = (step: string) => detail(`${name}: ${step}`);
        const readers = peers.map((peer) => ({
          name: peerRole(peer),
          secret: password(peerPassword(id, peer)),
          attributes: PEER_ATTRIBUTES,
        }));
        await ensureRoles(sql, readers, told);
        await migrate(superuser(name), sql, filled(airlockMigrations, id), told);
      }),
    ),
  ]);
}

/** The edges' key for subject tokens, so that the database can verify them. */
async function keepSubjectKey(sql: Sql, key: Buffer, told: Told): Promise<void> {
  const { inner, outer } = hmacPads(key);
  const changed = await sql`
    insert into domicile.subject_key as k (inner_pad, outer_pad) values (${inner}, ${outer})
    on conflict (single) do update set inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad
    where k.inner_pad <> excluded.inner_pad
    returning single`;
  if (changed.length > 0) told('has the key of its subjects');
}

type Role = { name: string; secret: string; attributes: readonly string[] };

type Told = (step: string) => void;

async function ensureRoles(sql: Sql, wanted: readonly Role[], told: Told): Promise<void> {
  const there = new Map((await rolesThere(sql)).map((role) => [role.name, role.attributes]));
  const kept = await sql<{ name: string; verifier: string | null }[]>`
    select rolname::text as name, rolpassword as verifier from pg_authid`;
  const verifiers = new Map(kept.map(({ name, verifier }) => [name, verifier]));
  for (const { name, secret, attributes } of wanted) {
    const found = there.get(name);
    const rights = attributesText(attributes);
    if (
      found !== undefined &&
      attributesText(found) === rights &&
      isVerifierOf(secret, verifiers.get(name) ?? null)
    ) {
      continue;
    }
    const verb = found === undefined ? 'create' : 'alter';
    await sql(verbatim(`${verb} role ${name} ${rights} password '${secret}'`));
    told(found === undefined ? `role ${name} is made` : `role ${name} has its rights and password`);
  }
}

/** Runs each script once, in order, and refuses when one that has run reads differently now. */
async function migrate(
  endpoint: Endpoint,
  sql: Sql,
  scripts: readonly Script[],
  told: Told,
): Promise<void> {
  await sql`create schema if not exists domicile_migrations`;
  await sql`
    create table if not exists domicile_migrations.applied (
      name text primary key,
      sha256 text not null,
      applied_at timestamptz not null default now()
    )`;
  for (const { name, text } of scripts) {
    const sha256 = createHash('sha256').update(text).digest('hex');
    const [applied] = await sql<{ sha256: string }[]>`
      select sha256 from domicile_migrations.applied where name = ${name}`;
    if (applied?.sha256 === sha256) continue;
    if (applied !== undefined) {
      throw new ProvisionError(
        `${endpoint.name}: ${name} has changed since it was run; write a new script, or begin anew with "domicile down --wipe"`,
      );
    }
    // One implicit transaction: the script and the note that it ran, or neither.
    await running(`${endpoint.name}: ${name}`, () =>
      runScript(
        endpoint,
        `begin;\n${text}\n;insert into domicile_migrations.applied (name, sha256) values ('${name}', '${sha256}');\ncommit;`,
        limits,
      ),
    );
    told(`${name} has run`);
  }
}

/** What a server says of a script is for whoever wrote the script. */
async function running(what: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    throw new ProvisionError(`${what} could not be run: ${error.message}`);
  }
}

function inAppSchema({ name, text }: Script): Script {
  return {
    name: `app ${name}`,
    text: `create schema if not exists app;\nset local search_path = app;\n${text}\n;set local search_path = default`,
  };
}

function filled(scripts: readonly Script[], region: RegionId): Script[] {
  return scripts.map(({ name, text }) => ({ name, text: text.replaceAll('{{region}}', region) }));
}
