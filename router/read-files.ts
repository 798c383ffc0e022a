/**
 * Which app, regions and policy does a command work with?
 *
 * Reads the two YAML files and collects the complaints of both, so that a person corrects them in
 * one go.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Policy } from '../policies/policy.ts';
import { readPolicy } from '../policies/read-policy.ts';
import type { Catalogue } from '../regions/catalogue.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';

export type AppFiles = { app: string; policy: string; regions: string; schema: string };
export type FilesReading =
  | { catalogue: Catalogue; policy: Policy }
  | { complaints: readonly string[] };

/** The files beside an app module, unless others are named. */
export function besideApp(
  app: string,
  named: { policy?: string; regions?: string; schema?: string },
): AppFiles {
  const folder = dirname(app);
  return {
    app,
    policy: named.policy ?? join(folder, 'residency.yaml'),
    regions: named.regions ?? join(folder, 'regions.yaml'),
    schema: named.schema ?? join(folder, 'schema.sql'),
  };
}

export async function readFiles({ policy, regions }: AppFiles): Promise<FilesReading> {
  const [policyText, regionsText] = await Promise.all([text(policy), text(regions)]);
  const complaints = [policyText, regionsText].flatMap((read) =>
    'complaint' in read ? [read.complaint] : [],
  );
  if ('complaint' in regionsText) return { complaints };
  const catalogue = readCatalogue(regionsText.text, shown(regions));
  if ('complaints' in catalogue) {
    return { complaints: [...complaints, ...catalogue.complaints.map(formatComplaint)] };
  }
  if ('complaint' in policyText) return { complaints };
  const read = readPolicy(policyText.text, shown(policy), catalogue.catalogue);
  if ('complaints' in read) return { complaints: read.complaints.map(formatComplaint) };
  return { catalogue: catalogue.catalogue, policy: read.policy };
}

/** The file's text, or one line on why there is none. */
async function text(path: string): Promise<{ text: string } | { complaint: string }> {
  try {
    return { text: await readFile(path, 'utf8') };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return {
      complaint: `${shown(path)}  ${code === 'ENOENT' ? 'no such file' : `cannot be read (${code})`}`,
    };
  }
}

function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near === '' || near.startsWith('..') ? path : near;
}
