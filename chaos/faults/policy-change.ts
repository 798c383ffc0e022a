/**
 * Which policy is applied while a system is under load?
 *
 * The one that it was started with, in its next version, with one rule changed.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ChaosError } from '../world.ts';

/** What can be changed; each turns one file into another one. */
const CHANGES: Readonly<Record<string, (text: string) => string>> = {
  'as it was': (text) => text,
  'notices of asia stay in asia': (text) =>
    text.replace(/homes: \[us, asia\](\s+)to: \[us, eu, asia\]/, 'homes: [us]$1to: [eu, asia]'),
};

/** Writes it into the world's folder and answers with its path. */
export async function changedPolicy(options: {
  root: string;
  policyFile: string;
  change: string;
  version: number;
}): Promise<string> {
  const { root, policyFile, change, version } = options;
  const make = CHANGES[change];
  if (make === undefined) {
    throw new ChaosError(
      `no policy change is called "${change}"; there are ${Object.keys(CHANGES).join(', ')}`,
    );
  }
  const before = await readFile(policyFile, 'utf8');
  const text = make(before);
  if (text === before && change !== 'as it was') {
    throw new ChaosError(`"${change}" changes nothing in ${policyFile}`);
  }
  const file = join(root, 'run', `residency-${version}.yaml`);
  await writeFile(file, text.replace(/^version: \d+$/m, `version: ${version}`));
  return file;
}
