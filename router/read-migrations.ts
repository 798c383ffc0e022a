/**
 * Which scripts change the app's tables after `schema.sql`?
 *
 * Those in the folder `migrations` beside it, in the order of their numbers. A name that could be
 * taken for a script and is none is complained about, so that none is passed over in silence.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { checkScript, lineAndColumn } from '../policies/migration-script.ts';
import { shown } from './read-files.ts';

export type Migration = {
  /** `0002-words.sql` */
  name: string;
  /** As a person should read it in complaints. */
  file: string;
  text: string;
  sha256: string;
};

const NAME = /^(\d{4})-[a-z0-9]+(-[a-z0-9]+)*\.sql$/;
/** `schema.sql` is the first. */
const NUMBER_MIN = 2;

export async function readMigrations(
  folder: string,
): Promise<{ migrations: readonly Migration[] } | { complaints: readonly string[] }> {
  const complaints: string[] = [];
  const migrations: Migration[] = [];
  const names = (await namesIn(folder)).filter((name) => name.endsWith('.sql')).sort();
  let before: string | undefined;
  for (const name of names) {
    const file = shown(join(folder, name));
    const number = NAME.exec(name)?.[1];
    if (number === undefined) {
      complaints.push(
        `${file}  is not called like 0002-words.sql, so nobody knows when it is to run`,
      );
      continue;
    }
    if (Number(number) < NUMBER_MIN) {
      complaints.push(`${file}  begin with 0002; schema.sql is the first`);
    }
    if (before?.startsWith(number)) {
      complaints.push(`${file}  has the number of ${before}; give it one of its own`);
    }
    before = name;
    const text = await readFile(join(folder, name), 'utf8');
    for (const { at, message } of checkScript(text)) {
      complaints.push(placed(file, text, at, message));
    }
    const sha256 = createHash('sha256').update(text).digest('hex');
    migrations.push({ name, file, text, sha256 });
  }
  return complaints.length > 0 ? { complaints } : { migrations };
}

export function placed(file: string, text: string, at: number, message: string): string {
  const { line, column } = lineAndColumn(text, at);
  return `${file}:${line}:${column}  ${message}`;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).map((name) => basename(name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
