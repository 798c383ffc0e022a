/**
 * Which secrets does an installation have, and what is in the file that keeps them?
 *
 * JSON in the shape of `terraform output secrets`: region, who reads it there, name. So `.us.edge` is
 * word for word what the edges of us run with, and what goes into their secret. A file that anybody
 * but its owner can read is refused.
 */
import { constants, type Stats } from 'node:fs';
import { open, rename, rm, writeFile } from 'node:fs/promises';
import type { Catalogue, RegionId } from '../../regions/catalogue.ts';
import { superuserSecret } from '../../regions/local/start-clusters.ts';
import {
  DIRECTORY_KEY_NAME,
  edgePassword,
  feedPassword,
  peerPassword,
  subjectKeyName,
} from '../password-names.ts';
import { shown } from '../read-files.ts';

/** Whose secret it is: that of the region's edges, of its private nodes, of its airlocks. */
export type Reader = 'edge' | 'postgres' | 'airlock';

export type Secret = {
  region: RegionId;
  reader: Reader;
  /** In the file, and in the environment of whoever reads it. */
  variable: string;
  kind: 'password' | 'key' | 'keys' | 'somebody’s password';
  /** Under which commands ask for it (`password-names.ts`); undefined: they never do. */
  name?: string;
  /** The same in every region, because tokens, hops and hashes pass between them. */
  shared?: true;
  /** For others than Domicile; it is drawn and not missed. */
  optional?: true;
};

export type Secrets = {
  password: (name: string) => string;
  key: (name: string) => Buffer;
  /** Everything that the edges of a region have. */
  edge: (region: RegionId) => Readonly<Record<string, string>>;
};

type File = Record<string, Partial<Record<Reader, Record<string, string>>>>;

const PASSWORD = /^[A-Za-z0-9_-]{16,}$/;
const KEY_BYTES_MIN = 32;
const DRAWN_BYTES = 32;
/** Group and others, in whatever way. */
const NOT_ITS_OWNER = 0o077;

/** In the order of the file. */
export function secretsOf({ regions }: Catalogue): Secret[] {
  return [...regions.values()].flatMap(({ id, keeper }): Secret[] => {
    const here = (
      reader: Reader,
      variable: string,
      kind: Secret['kind'],
      more: Pick<Secret, 'name' | 'shared' | 'optional'>,
    ): Secret => ({ region: id, reader, variable, kind, ...more });
    const peers = [...regions.keys()].filter((peer) => peer !== id);
    return [
      here('edge', 'DOMICILE_DATABASE_PASSWORD', 'password', { name: edgePassword(id) }),
      here('edge', 'DOMICILE_SESSION_KEYS', 'keys', { shared: true }),
      here('edge', 'DOMICILE_HOP_KEY', 'key', { shared: true }),
      here('edge', 'DOMICILE_DIRECTORY_KEY', 'key', { name: DIRECTORY_KEY_NAME, shared: true }),
      here('edge', 'DOMICILE_SUBJECT_KEY', 'key', { name: subjectKeyName(id) }),
      here('postgres', 'SUPERUSER_PASSWORD', 'somebody’s password', {
        name: superuserSecret(id, 'private'),
      }),
      ...(keeper?.kind === 'patroni'
        ? [
            here('postgres', 'STANDBY_PASSWORD', 'password', { optional: true }),
            here('postgres', 'PATRONI_API_PASSWORD', 'password', { optional: true }),
          ]
        : []),
      ...peers.map((peer) =>
        here('postgres', airlockVariable(peer), 'password', { name: peerPassword(peer, id) }),
      ),
      here('airlock', 'SUPERUSER_PASSWORD', 'somebody’s password', {
        name: superuserSecret(id, 'airlock'),
      }),
      here('airlock', 'FEED_PASSWORD', 'password', { name: feedPassword(id) }),
    ];
  });
}

/** What opens the airlocks of a peer to this region. */
function airlockVariable(peer: RegionId): string {
  return `AIRLOCK_OF_${peer.toUpperCase().replaceAll('-', '_')}_PASSWORD`;
}

export async function readSecrets(
  path: string,
  catalogue: Catalogue,
): Promise<{ secrets: Secrets } | { complaints: readonly string[] }> {
  const read = await readFile(path);
  if ('complaints' in read) return read;
  const { file } = read;
  const wanted = secretsOf(catalogue);
  const complaints = [...judge(file, wanted), ...judgeShared(file, wanted)];
  if (complaints.length > 0) {
    return { complaints: complaints.map((complaint) => `${shown(path)}  ${complaint}`) };
  }
  const named = (name: string) => {
    const secret = wanted.find((one) => one.name === name);
    if (secret === undefined) throw new RangeError(`no secret is called ${name}`);
    return secretIn(file, secret) ?? '';
  };
  return {
    secrets: {
      password: named,
      key: (name) => Buffer.from(named(name), 'base64url'),
      edge: (region) => file[region]?.edge ?? {},
    },
  };
}

export type Drawn = { drawn: readonly string[]; kept: number };

/** Adds what is missing and changes nothing that is there. */
export async function drawSecrets(
  path: string,
  catalogue: Catalogue,
  random: (bytes: number) => Buffer,
): Promise<Drawn | { complaints: readonly string[] }> {
  const read = await readFile(path, 'may be missing');
  if ('complaints' in read) return read;
  const { file } = read;
  const wanted = secretsOf(catalogue);
  const drawn: string[] = [];
  for (const secret of wanted) {
    if (secretIn(file, secret) !== undefined) continue;
    const elsewhere =
      secret.shared === true
        ? wanted
            .filter((one) => one.variable === secret.variable)
            .map((one) => secretIn(file, one))
            .find((value) => value !== undefined)
        : undefined;
    const region = file[secret.region] ?? {};
    const value = elsewhere ?? random(DRAWN_BYTES).toString('base64url');
    region[secret.reader] = { ...region[secret.reader], [secret.variable]: value };
    file[secret.region] = region;
    drawn.push(pathOf(secret));
  }
  if (drawn.length > 0) await writePrivately(path, `${JSON.stringify(file, null, 2)}\n`);
  return { drawn, kept: wanted.length - drawn.length };
}

/** For nobody but its owner, from its first byte on; all of it or nothing. */
export async function writePrivately(path: string, text: string): Promise<void> {
  const draft = `${path}.draft`;
  await rm(draft, { force: true });
  await writeFile(draft, text, { mode: 0o600, flag: 'wx' });
  await rename(draft, path);
}

async function readFile(
  path: string,
  missing?: 'may be missing',
): Promise<{ file: File } | { complaints: readonly string[] }> {
  const refuse = (complaint: string) => ({ complaints: [`${shown(path)}  ${complaint}`] });
  let text: string;
  try {
    const handle = await open(path, constants.O_RDONLY);
    try {
      const complaint = ownedBadly(await handle.stat(), path);
      if (complaint !== undefined) return refuse(complaint);
      text = await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    if (code === 'ENOENT' && missing !== undefined) return { file: {} };
    return refuse(
      code === 'ENOENT'
        ? 'no such file; "domicile new-secrets" draws one'
        : `cannot be read (${code})`,
    );
  }
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    // The parser's own words may repeat a part of a secret.
    return refuse('is not JSON');
  }
  if (isFile(file)) return { file };
  return refuse(
    'is not of the form {"us": {"edge": {...}, "postgres": {...}, "airlock": {...}}} with texts',
  );
}

function ownedBadly({ mode, uid }: Stats, path: string): string | undefined {
  if ((mode & NOT_ITS_OWNER) !== 0) {
    return `is open to others than its owner (mode ${(mode & 0o777).toString(8)}): chmod 600 ${shown(path)}, and draw anew what they may have read`;
  }
  const own = process.geteuid?.();
  if (own === undefined || uid === own || uid === 0) return undefined;
  return `belongs to somebody else (uid ${uid}), who can change it`;
}

function isFile(value: unknown): value is File {
  return (
    isRecord(value) &&
    Object.values(value).every(
      (region) =>
        isRecord(region) &&
        Object.values(region).every(
          (place) =>
            isRecord(place) && Object.values(place).every((text) => typeof text === 'string'),
        ),
    )
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A secret itself is never repeated. */
function judge(file: File, wanted: readonly Secret[]): string[] {
  return wanted.flatMap((secret) => {
    const value = secretIn(file, secret);
    if (value === undefined) return secret.optional === true ? [] : [`${pathOf(secret)}: missing`];
    const wrong = whatIsWrong(secret, value);
    return wrong === undefined ? [] : [`${pathOf(secret)}: ${wrong}`];
  });
}

function whatIsWrong({ kind }: Secret, value: string): string | undefined {
  switch (kind) {
    case 'password':
      return PASSWORD.test(value)
        ? undefined
        : 'is not made of 16 or more letters, digits, hyphens and underscores';
    case 'somebody’s password':
      return value === '' || /\p{Cc}/u.test(value)
        ? 'is empty or has a control character'
        : undefined;
    case 'key':
      return isKey(value) ? undefined : `is not base64url of ${KEY_BYTES_MIN} bytes or more`;
    case 'keys':
      return value.split(',').every(isKey)
        ? undefined
        : `is not one or more keys, each base64url of ${KEY_BYTES_MIN} bytes or more, with commas between them`;
  }
}

function isKey(text: string): boolean {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text && bytes.length >= KEY_BYTES_MIN;
}

function judgeShared(file: File, wanted: readonly Secret[]): string[] {
  const shared = Map.groupBy(
    wanted.filter((secret) => secret.shared === true),
    ({ variable }) => variable,
  );
  return [...shared].flatMap(([variable, secrets]) => {
    const values = new Set(secrets.map((secret) => secretIn(file, secret)).filter(Boolean));
    if (values.size < 2) return [];
    const regions = secrets.map(({ region }) => region).join(', ');
    return [`edge.${variable}: differs between ${regions}, and has to be the same everywhere`];
  });
}

function secretIn(file: File, { region, reader, variable }: Secret): string | undefined {
  const place = Object.hasOwn(file, region) ? file[region]?.[reader] : undefined;
  return place !== undefined && Object.hasOwn(place, variable) ? place[variable] : undefined;
}

function pathOf({ region, reader, variable }: Secret): string {
  return `${region}.${reader}.${variable}`;
}
