/**
 * `domicile policy check` and `domicile policy explain`: what a policy file says, before anything
 * runs under it.
 *
 * Exit status 0 when it is sound or the subject has a home, 1 when not.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { checkPolicy } from '../policies/check-policy.ts';
import type { DatabaseSchema } from '../policies/database-schema.ts';
import { type Explanation, explainSubject, type Whereabouts } from '../policies/explain.ts';
import type { Policy } from '../policies/policy.ts';
import { refusalInWords } from '../policies/refusal-in-words.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import { besideApp, readFiles, shown } from './read-files.ts';
import { type Migration, readMigrations } from './read-migrations.ts';
import { rehearseSchema } from './rehearse-schema.ts';

export type PolicyFiles = {
  app: string;
  policy?: string;
  regions?: string;
  schema?: string;
  /** Also hold the policy against the tables that the schema file makes. */
  withSchema?: boolean;
};
export type Answer = { lines: readonly string[]; json: unknown; exitCode: 0 | 1 | 2 };

/** Aborting `ending` ends a rehearsal of the schema and removes what it made. */
export async function checkCommand(files: PolicyFiles, ending?: AbortSignal): Promise<Answer> {
  const all = besideApp(resolve(files.app), files);
  const read = await readFiles(all);
  if ('complaints' in read) return complaints(read.complaints);
  const { policy, catalogue } = read;
  const { version, effective, because } = policy;
  let where = `for the regions ${[...catalogue.regions.keys()].join(', ')}`;
  if (files.withSchema === true) {
    const [region = ''] = catalogue.regions.keys();
    const scripts = await readMigrations(all.migrations);
    if ('complaints' in scripts) return complaints(scripts.complaints);
    const rehearsed = await rehearsal(all.schema, scripts.migrations, region, ending);
    if ('complaint' in rehearsed) return complaints([rehearsed.complaint]);
    const { schema } = rehearsed;
    const found = checkPolicy(policy, { catalogue, schema });
    if (found.length > 0) return complaints(found.map(formatComplaint));
    where += ` and for the ${schema.tables.size} tables of ${shown(all.schema)}`;
  }
  return {
    lines: [
      `Policy version ${version}, effective ${effective}, is sound ${where}.`,
      `Its reason: ${because}`,
      ...summary(policy),
    ],
    json: { sound: true, version, effective, because },
    exitCode: 0,
  };
}

export async function explainCommand(
  files: PolicyFiles,
  stated: readonly string[],
): Promise<Answer> {
  const read = await readFiles(besideApp(resolve(files.app), files));
  if ('complaints' in read) return complaints(read.complaints);
  const facts = new Map<string, string>();
  for (const fact of stated) {
    const [name, ...value] = fact.split('=');
    if (name === undefined || name === '' || value.length === 0) {
      return complaints([`"${fact}" is not a fact such as country=DE`]);
    }
    facts.set(name, value.join('='));
  }
  const { country = '', ...others } = Object.fromEntries(facts);
  const attributes = { country, ...others };
  const regions = read.catalogue.regions.keys();
  const explanation = explainSubject(read.policy, attributes, { regions });
  return {
    lines: explained(explanation),
    json: explanation,
    exitCode: explanation.placement.kind === 'placed' ? 0 : 1,
  };
}

async function rehearsal(
  path: string,
  further: readonly Migration[],
  region: string,
  signal: AbortSignal | undefined,
): Promise<{ schema: DatabaseSchema } | { complaint: string }> {
  const file = shown(path);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'no such file' : `cannot be read (${code})`;
    return { complaint: `${file}  ${why}` };
  }
  const rehearsed = await rehearseSchema({
    ...{ file, text, further, region },
    ...(signal !== undefined && { signal }),
  });
  return rehearsed.kind === 'refused'
    ? { complaint: rehearsed.complaint }
    : { schema: rehearsed.schema };
}

function complaints(found: readonly string[]): Answer {
  return { lines: found, json: { sound: false, complaints: found }, exitCode: 1 };
}

function summary({ jurisdictions, placement, tables }: Policy): string[] {
  const lines = ['', 'Jurisdictions'];
  for (const { name, countries, regions } of jurisdictions.values()) {
    lines.push(`  ${name}: ${countries.size} countries, may live in ${regions.join(', ')}`);
  }
  lines.push('', 'Placement, first match');
  for (const { rule, home, because } of placement) lines.push(`  ${rule}: ${home} (${because})`);
  lines.push('', 'Tables');
  for (const table of tables.values()) {
    const whose =
      table.kind === 'reference'
        ? `nobody's, written in ${table.owner}`
        : `the subject in ${table.subject}, ${table.transit}`;
    lines.push(`  ${table.name}: ${whose}`);
    if (table.kind === 'reference') continue;
    for (const { as, columns, homes, to } of table.mirrors) {
      lines.push(
        `    ${as}: ${columns.join(', ')} of ${homes.join(', ')} also in ${to.join(', ')}`,
      );
    }
  }
  return lines;
}

function explained({ placement, columns }: Explanation): string[] {
  if (placement.kind === 'refused') {
    return [`No home: ${refusalInWords(placement)}`];
  }
  const { home, jurisdiction, rule, because, passedOver } = placement;
  const lines = [
    `Home: ${home}, by rule "${rule}" (${because}), within jurisdiction "${jurisdiction}".`,
  ];
  for (const { rule: other, fact, wanted, found } of passedOver) {
    lines.push(
      `  passed over "${other}": ${fact} is ${found ?? 'not stated'}, not ${wanted.join(' or ')}`,
    );
  }
  for (const { table, column, at } of columns) {
    lines.push('', `${table}.${column}`);
    for (const { region, answer } of at)
      lines.push(`  ${region.padEnd(16)} ${whereabouts(answer)}`);
  }
  return lines;
}

function whereabouts(answer: Whereabouts): string {
  const what =
    answer.kind === 'refused'
      ? `no, ${answer.because.replaceAll('-', ' ')}`
      : answer.as === 'mirror'
        ? `yes, as ${answer.mirror}`
        : `yes, ${answer.as}`;
  return `${what.padEnd(28)} ${answer.says}`;
}
