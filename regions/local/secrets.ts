/**
 * Which passwords does this world use?
 *
 * Drawn when first asked for and kept in one file that only its owner can read, in the world's
 * root: never in a data directory, which a base backup would hand over, and never in a log.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { chmod, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NodeAddress } from '../catalogue.ts';
import { giveTo, type ProcessUser } from './process-user.ts';

export type Secrets = {
  /** The same name always gets the same password. */
  password(name: string): string;
  /** Whether a password of this name was drawn before. */
  knows(name: string): boolean;
};

export function openSecrets(root: string): Secrets {
  const path = join(root, 'secrets.json');
  const kept = new Map(Object.entries(readKept(path)));
  return {
    knows: (name) => kept.has(name),
    password(name) {
      const known = kept.get(name);
      if (known !== undefined) return known;
      // Letters and digits only: nothing to quote in a conninfo, a passfile or an URL.
      const drawn = randomBytes(24).toString('hex');
      kept.set(name, drawn);
      const draft = `${path}.draft`;
      writeFileSync(draft, `${JSON.stringify(Object.fromEntries(kept), null, 2)}\n`, {
        mode: 0o600,
      });
      renameSync(draft, path);
      return drawn;
    },
  };
}

function readKept(path: string): Record<string, string> {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Record<string, string>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}

export type PassfileEntry = {
  to: Pick<NodeAddress, 'host' | 'port'>;
  user: string;
  password: string;
};

/** Writes a libpq password file that the servers, and nobody else, can read. */
export async function writePassfile(
  path: string,
  entries: readonly PassfileEntry[],
  user: ProcessUser | undefined,
): Promise<void> {
  const lines = entries.map(
    ({ to, user: role, password }) =>
      `${[to.host, to.port, '*', role, password].map(escaped).join(':')}\n`,
  );
  const draft = `${path}.draft`;
  await writeFile(draft, lines.join(''), { mode: 0o600 });
  await chmod(draft, 0o600);
  await giveTo(user, draft);
  await rename(draft, path);
}

function escaped(field: string | number): string {
  return field === '*' ? field : String(field).replace(/[\\:]/g, '\\$&');
}
