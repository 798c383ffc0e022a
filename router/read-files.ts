/**
 * Which app, regions and policy does a command work with?
 *
 * Reads the two YAML files and collects the complaints of both, so that a person corrects them in
 * one go.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import type { Policy } from '../policies/policy.ts';
import { readPolicy } from '../policies/read-policy.ts';
import type { Catalogue, Region, Tls } from '../regions/catalogue.ts';
import { complaintAboutAuthorities } from '../regions/certificate-authorities.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';

export type AppFiles = {
  app: string;
  policy: string;
  regions: string;
  schema: string;
  /** The folder of the scripts that change the tables later; it need not exist. */
  migrations: string;
};
export type FilesReading =
  | { catalogue: Catalogue; policy: Policy; policyText: string }
  | { complaints: readonly string[] };

/** The files beside an app module, unless others are named. */
export function besideApp(
  app: string,
  named: { policy?: string; regions?: string; schema?: string },
): AppFiles {
  const folder = dirname(app);
  const schema = named.schema ?? join(folder, 'schema.sql');
  return {
    app,
    policy: named.policy ?? join(folder, 'residency.yaml'),
    regions: named.regions ?? join(folder, 'regions.yaml'),
    schema,
    migrations: join(dirname(schema), 'migrations'),
  };
}

export async function readFiles({ policy, regions }: AppFiles): Promise<FilesReading> {
  const [policyText, regionsText] = await Promise.all([readText(policy), readText(regions)]);
  const complaints = [policyText, regionsText].flatMap((read) =>
    'complaint' in read ? [read.complaint] : [],
  );
  const catalogue =
    'text' in regionsText ? readCatalogue(regionsText.text, shown(regions)) : { complaints: [] };
  const authorities =
    'catalogue' in catalogue
      ? await readAuthorities(catalogue.catalogue, dirname(regions))
      : { complaints: [] };
  if ('complaints' in authorities) complaints.push(...authorities.complaints);
  const known = 'catalogue' in authorities ? authorities.catalogue : undefined;
  const read =
    'text' in policyText ? readPolicy(policyText.text, shown(policy), known) : { complaints: [] };
  for (const reading of [read, catalogue]) {
    if ('complaints' in reading) complaints.push(...reading.complaints.map(formatComplaint));
  }
  if (known === undefined || 'complaints' in read || 'complaint' in policyText) {
    return { complaints };
  }
  return { catalogue: known, policy: read.policy, policyText: policyText.text };
}

/** Puts the certificates that regions name by file where they are used. */
export async function readAuthorities(
  catalogue: Catalogue,
  folder: string,
): Promise<{ catalogue: Catalogue } | { complaints: readonly string[] }> {
  const complaints: string[] = [];
  const regions = new Map<string, Region>();
  for (const [id, region] of catalogue.regions) {
    const { caFile, ...tls } = region.tls ?? {};
    if (caFile === undefined) {
      regions.set(id, region);
      continue;
    }
    const path = resolve(folder, caFile);
    const file = await readText(path);
    const wrong = 'text' in file ? complaintAboutAuthorities(file.text) : undefined;
    if ('complaint' in file) complaints.push(`${file.complaint}: tls.caFile of ${id}`);
    else if (wrong !== undefined) complaints.push(`${shown(path)}  ${wrong}: tls.caFile of ${id}`);
    else regions.set(id, withTls(region, { ...(tls as Tls), ca: file.text }));
  }
  return complaints.length > 0 ? { complaints } : { catalogue: { ...catalogue, regions } };
}

/** The region, with its servers spoken to like this. */
export function withTls(region: Region, tls: Tls): Region {
  return {
    ...region,
    tls,
    nodes: region.nodes.map((node) => ({ ...node, tls })),
    airlocks: region.airlocks.map((airlock) => ({ ...airlock, tls })),
  };
}

/** The policy of a text that does not come from a file. */
export function readPolicyText(
  text: string,
  label: string,
  catalogue: Catalogue,
): { policy: Policy } | { complaints: readonly string[] } {
  const read = readPolicy(text, label, catalogue);
  return 'complaints' in read ? { complaints: read.complaints.map(formatComplaint) } : read;
}

/** A policy file for regions that are known already, with its text as written. */
export async function readPolicyFile(
  path: string,
  catalogue: Catalogue,
): Promise<{ policy: Policy; text: string } | { complaints: readonly string[] }> {
  const file = await readText(path);
  if ('complaint' in file) return { complaints: [file.complaint] };
  const read = readPolicy(file.text, shown(path), catalogue);
  if ('complaints' in read) return { complaints: read.complaints.map(formatComplaint) };
  return { policy: read.policy, text: file.text };
}

/** The file's text, or one line on why there is none. */
export async function readText(path: string): Promise<{ text: string } | { complaint: string }> {
  try {
    return { text: await readFile(path, 'utf8') };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return {
      complaint: `${shown(path)}  ${code === 'ENOENT' ? 'no such file' : `cannot be read (${code})`}`,
    };
  }
}

/** The path as a person who stands here would write it. */
export function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near === '' || near.startsWith('..') ? path : near;
}
