/**
 * Who may use the consoles of a local world?
 *
 * Whoever can read its secrets: a token for each role is among them, and the edges are handed a file
 * of the hashes.
 */
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { consoleToken } from '../password-names.ts';
import type { ConsoleRole } from './console-state.ts';
import { sha256 } from './credentials.ts';

export const OPERATORS_FILE = join('run', 'operators.yaml');
export const ROLES: readonly ConsoleRole[] = ['viewer', 'operator'];

export async function localOperators(
  root: string,
  password: (name: string) => string,
): Promise<void> {
  const operators = ROLES.map((role) => ({
    name: `local ${role}`,
    role,
    sha256: sha256(password(consoleToken(role))).toString('hex'),
  }));
  const path = join(root, OPERATORS_FILE);
  // JSON is YAML.
  await writeFile(path, `${JSON.stringify({ version: 1, operators }, null, 2)}\n`, { mode: 0o600 });
  await chmod(path, 0o600);
}
