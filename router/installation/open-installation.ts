/**
 * How does a command work on clusters that Domicile did not start?
 *
 * One file says which files belong together and how servers are reached, another one has the
 * secrets. Everything that is wrong with any of them is said at once.
 */
import { dirname, resolve } from 'node:path';
import type { Policy } from '../../policies/policy.ts';
import type { Catalogue, NodeAddress, RegionId } from '../../regions/catalogue.ts';
import { CannotStart } from '../../regions/local/cannot-start.ts';
import { superuserSecret } from '../../regions/local/start-clusters.ts';
import { type Installation, readInstallation } from '../../regions/read-installation.ts';
import { formatComplaint } from '../../regions/yaml-complaint.ts';
import { LOCAL_ROLES } from '../local-operator.ts';
import type { Operator } from '../operator.ts';
import { type AppFiles, besideApp, readFiles, readText, shown } from '../read-files.ts';
import { readSecrets, type Secrets } from './secrets-file.ts';

export type OpenInstallation = {
  operator: Operator;
  files: AppFiles;
  policy: Policy;
  policyText: string;
  installation: Installation;
  secrets: Secrets;
};

/** What is known before anybody has a secret. */
export type InstallationFiles = Omit<OpenInstallation, 'operator' | 'secrets'> & {
  catalogue: Catalogue;
  secretsFile: string;
};

/** @throws CannotStart with every complaint. */
export async function openInstallation(path: string): Promise<OpenInstallation> {
  const read = await readInstallationFiles(path);
  const known = 'complaints' in read ? read.known : read;
  const secrets =
    known === undefined ? undefined : await readSecrets(known.secretsFile, known.catalogue);
  const complaints = [read, secrets].flatMap((one) =>
    one !== undefined && 'complaints' in one ? [...one.complaints] : [],
  );
  if ('complaints' in read || secrets === undefined || 'complaints' in secrets) {
    throw new CannotStart(complaints.join('\n'));
  }
  const { catalogue, secretsFile: _secretsFile, ...rest } = read;
  return {
    ...rest,
    secrets: secrets.secrets,
    operator: operatorOf(catalogue, read.installation, secrets.secrets),
  };
}

type Known = { secretsFile: string; catalogue: Catalogue };

/** As far as they can be read, where there are complaints. */
export async function readInstallationFiles(
  path: string,
): Promise<InstallationFiles | { complaints: readonly string[]; known: Known | undefined }> {
  const text = await readText(path);
  if ('complaint' in text) return { complaints: [text.complaint], known: undefined };
  const first = readInstallation(text.text, shown(path));
  if ('complaints' in first) {
    return { complaints: first.complaints.map(formatComplaint), known: undefined };
  }
  const folder = dirname(path);
  const written = first.installation.files;
  const at = (file: string) => resolve(folder, file);
  const files = besideApp(at(written.app), {
    ...(written.policy !== undefined && { policy: at(written.policy) }),
    ...(written.regions !== undefined && { regions: at(written.regions) }),
    ...(written.schema !== undefined && { schema: at(written.schema) }),
  });
  const read = await readFiles(files);
  const catalogue = 'catalogue' in read ? read.catalogue : undefined;
  const again = readInstallation(text.text, shown(path), catalogue);
  const secretsFile = at(written.secrets);
  const complaints = [
    ...('complaints' in again ? again.complaints.map(formatComplaint) : []),
    ...('complaints' in read ? read.complaints : []),
  ];
  if ('complaints' in again || 'complaints' in read || catalogue === undefined) {
    const known = catalogue === undefined ? undefined : { secretsFile, catalogue };
    return { complaints, known };
  }
  return { ...read, catalogue, files, secretsFile, installation: again.installation };
}

function operatorOf(
  catalogue: Catalogue,
  { superuser, roles, reach, links, subscriptions }: Installation,
  secrets: Secrets,
): Operator {
  return {
    catalogue,
    superuser: (node) => {
      const { server, region, kind, database } = serverOf(catalogue, node);
      const password = secrets.password(superuserSecret(region, kind));
      // Through a tunnel it is still its own name that the certificate must have.
      const address = { ...server, serverName: server.host, ...reach.get(node) };
      return { ...address, database, user: superuser(region), password };
    },
    password: secrets.password,
    key: secrets.key,
    passfile: async () => subscriptions.passwordFile,
    link: (from: RegionId, to: NodeAddress) => {
      const { host, port } = links.find((link) => link.from === from && link.to === to.name) ?? to;
      return { host, port };
    },
    subscriptions: { followPrimary: true, parameters: subscriptions.parameters },
    installed: roles,
    slotOfNode: LOCAL_ROLES.slotOfNode,
  };
}

type Server = {
  server: NodeAddress;
  region: RegionId;
  database: string;
  kind: 'private' | 'airlock';
};

function serverOf(catalogue: Catalogue, name: string): Server {
  for (const { id, database, nodes, airlocks } of catalogue.regions.values()) {
    const node = nodes.find((one) => one.name === name);
    if (node !== undefined) return { server: node, region: id, database, kind: 'private' };
    const airlock = airlocks.find((one) => one.name === name);
    if (airlock !== undefined) return { server: airlock, region: id, database, kind: 'airlock' };
  }
  throw new RangeError(`no node ${name}`);
}
