/**
 * How can somebody who was not there believe what an audit found?
 *
 * The report is JSON with an Ed25519 signature over its canonical form. Whoever has the auditor's
 * public key, from another way than the report, can tell whether a byte of it was changed.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { link, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson, type Json } from './canonical-json.ts';
import { type AuditResult, type Verdict, verdictOf } from './finding.ts';

export const FORMAT = 'domicile-audit/1';

export type Report = {
  format: typeof FORMAT;
  /** ISO 8601. */
  startedAt: string;
  endedAt: string;
  verdict: Verdict;
  policy: { version: number; sha256: string; because: string };
  regions: readonly string[];
  findings: AuditResult['findings'];
  checks: readonly { name: string; looked: number; because: string | null }[];
  channels: readonly {
    name: string;
    positiveControl: boolean;
    hits: number;
    expected: number;
    bytes: number;
    because: string | null;
  }[];
  canaries: AuditResult['canaries'];
  left: readonly string[];
  leftOut: readonly string[];
};

export type SignedReport = Report & {
  signature: { algorithm: 'Ed25519'; publicKey: string; value: string };
};

export type KeyPair = { privateKey: KeyObject; publicKey: KeyObject };

export const PRIVATE_KEY_FILE = 'audit.key';
export const PUBLIC_KEY_FILE = 'audit.pub';

export function makeReport(
  result: AuditResult,
  about: Pick<Report, 'startedAt' | 'endedAt' | 'policy' | 'regions'>,
): Report {
  const { findings, canaries, left, leftOut } = result;
  return {
    format: FORMAT,
    ...about,
    verdict: verdictOf(result),
    findings,
    checks: result.checks.map((check) => ({ ...check, because: check.because ?? null })),
    channels: result.channels.map((one) => ({ ...one, because: one.because ?? null })),
    canaries,
    left,
    leftOut,
  };
}

export function signReport(report: Report, { privateKey, publicKey }: KeyPair): SignedReport {
  const value = sign(null, signedBytes(report), privateKey).toString('base64url');
  return {
    ...report,
    signature: { algorithm: 'Ed25519', publicKey: rawKey(publicKey), value },
  };
}

export type Verification =
  | { kind: 'genuine'; report: Report }
  | { kind: 'refused'; because: string };

/** `publicKey` is the text of the auditor's `audit.pub`. What the report says of its key is not asked. */
export function verifyReport(text: string, publicKey: string): Verification {
  let key: KeyObject;
  try {
    key = createPublicKey(publicKey);
  } catch {
    return { kind: 'refused', because: 'the key is no public key in PEM' };
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    return { kind: 'refused', because: 'the key is not one of Ed25519' };
  }
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch {
    return { kind: 'refused', because: 'the report is no JSON' };
  }
  if (typeof said !== 'object' || said === null || !('signature' in said)) {
    return { kind: 'refused', because: 'the report carries no signature' };
  }
  const { signature, ...report } = said as SignedReport;
  if (report.format !== FORMAT) {
    return { kind: 'refused', because: `the report is not of the format ${FORMAT}` };
  }
  // A member that is there twice means one thing to us and another to the next reader.
  if (withoutSpaces(text) !== JSON.stringify(said)) {
    return { kind: 'refused', because: 'the report says something twice, or in an unusual way' };
  }
  // The last letter of 64 bytes has four bits to spare; only the spelling that was signed counts.
  const spelt = String(signature?.value);
  const bytes = Buffer.from(spelt, 'base64url');
  const value = bytes.toString('base64url') === spelt ? bytes : Buffer.alloc(0);
  if (signature?.algorithm !== 'Ed25519' || !verify(null, signedBytes(report), key, value)) {
    return {
      kind: 'refused',
      because: 'the signature does not fit: the report was changed, or another auditor signed it',
    };
  }
  return { kind: 'genuine', report };
}

/** Made at first use. The private half is for its owner's eyes, and in no data directory. */
export async function openKeyPair(folder: string): Promise<KeyPair> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, PRIVATE_KEY_FILE);
  const privateKey = createPrivateKey((await keptKey(path)) ?? (await makeKey(folder, path)));
  const publicKey = createPublicKey(privateKey);
  const spki = publicKey.export({ type: 'spki', format: 'pem' });
  await writeFile(join(folder, PUBLIC_KEY_FILE), spki, { mode: 0o644 });
  return { privateKey, publicKey };
}

/** Of two audits that begin together, one gives its key and the other one takes it. */
async function makeKey(folder: string, path: string): Promise<string> {
  const desk = await mkdtemp(join(folder, 'making.'));
  try {
    const draft = join(desk, PRIVATE_KEY_FILE);
    const { privateKey } = generateKeyPairSync('ed25519');
    const pem = String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await writeFile(draft, pem, { mode: 0o600 });
    // A link appears with its content, all at once.
    await link(draft, path);
    return pem;
  } catch (error) {
    const kept = (error as NodeJS.ErrnoException).code === 'EEXIST' && (await keptKey(path));
    if (typeof kept === 'string') return kept;
    throw error;
  } finally {
    await rm(desk, { recursive: true, force: true });
  }
}

async function keptKey(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function withoutSpaces(json: string): string {
  return json.replace(/("(?:[^"\\]|\\.)*")|\s+/g, '$1');
}

function signedBytes(report: Report): Buffer {
  return Buffer.from(canonicalJson(report as unknown as Json));
}

/** 32 bytes, base64url: enough to recognise a key by. */
function rawKey(key: KeyObject): string {
  return String(key.export({ format: 'jwk' }).x);
}
