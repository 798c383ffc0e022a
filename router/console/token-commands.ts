/**
 * `domicile console-token` and `domicile new-operator`: what does somebody sign in with?
 *
 * In a local world with a token that lies among its secrets. Anywhere else with one that is drawn
 * here and shown once: the operators file gets its hash.
 */
import { openSecrets } from '../../regions/local/secrets.ts';
import { isWorld, worldRoot } from '../../regions/local/world-folder.ts';
import { consoleToken } from '../password-names.ts';
import type { ConsoleRole } from './console-state.ts';
import { sha256 } from './credentials.ts';

export type Printed = { lines: readonly string[] } | { complaints: readonly string[] };

export async function localConsoleToken(path: string, role: ConsoleRole): Promise<Printed> {
  const root = await worldRoot(path);
  if (root === undefined || !(await isWorld(root))) {
    return {
      complaints: [`There is no Domicile world in ${path}. Start one, or name its folder.`],
    };
  }
  const secrets = openSecrets(root);
  const name = consoleToken(role);
  // One that was drawn here the edges would not know.
  if (!secrets.knows(name)) {
    return { complaints: [`The world in ${root} has no console yet. Start it once more.`] };
  }
  return { lines: [secrets.password(name)] };
}

export function newOperator(name: string, role: ConsoleRole, token: string): string[] {
  const hash = sha256(token).toString('hex');
  return [
    'The token, which is shown this once:',
    '',
    `  ${token}`,
    '',
    'Below "operators:" of the file that --operators of an edge names:',
    '',
    `  - { name: ${JSON.stringify(name)}, role: ${role}, sha256: ${hash} }`,
  ];
}
