/**
 * Which scripts make the schema `domicile` and the app's first tables?
 *
 * Those that come with this version, in the order of their numbers, and the app's `schema.sql`.
 */
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ProvisionOptions, Script } from './provision.ts';

const SCHEMA = join(dirname(fileURLToPath(import.meta.url)), '..', 'regions', 'schema');

export async function scriptsToRun(
  appSchema: string,
): Promise<Pick<ProvisionOptions, 'migrations' | 'airlockMigrations' | 'appSchema'>> {
  return {
    migrations: await scripts('0'),
    airlockMigrations: await scripts('airlock-'),
    appSchema: await script(appSchema),
  };
}

async function scripts(prefix: string): Promise<Script[]> {
  const names = (await readdir(SCHEMA)).filter((name) => name.startsWith(prefix)).sort();
  return Promise.all(names.map((name) => script(join(SCHEMA, name))));
}

async function script(path: string): Promise<Script> {
  return { name: basename(path), text: await readFile(path, 'utf8') };
}
