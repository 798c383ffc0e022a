/**
 * How does a client prove to PostgreSQL that it knows a password, without sending it?
 *
 * SCRAM-SHA-256 (RFC 5802 and 7677), the client's half, without channel binding: what our own
 * replication client needs where the driver speaks no replication. It also makes the server prove
 * that it knows the verifier, so that nobody can pose as the server.
 */
import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from 'node:crypto';

export const SCRAM = 'SCRAM-SHA-256';

/** PostgreSQL's own is 4096; a hostile server could ask for hours of hashing. */
const ITERATIONS_MAX = 1_000_000;

/** `n`: no channel binding. PostgreSQL takes the user from the startup message. */
const HEADER = 'n,,';

export type Proof = { message: string; serverSignature: Buffer };

export function firstMessage(nonce: string): string {
  return `${HEADER}n=,r=${nonce}`;
}

/** The answer to the server's challenge; undefined when the challenge is not a fresh, sound one. */
export function prove(password: string, nonce: string, challenge: string): Proof | undefined {
  const { r, s, i } = attributes(challenge);
  const iterations = Number(i);
  const sound = Number.isInteger(iterations) && iterations > 0 && iterations <= ITERATIONS_MAX;
  if (r === undefined || s === undefined || !sound) return undefined;
  if (!r.startsWith(nonce) || r.length === nonce.length) return undefined;
  // RFC 4013 forbids some code points; like libpq, one that is no valid text stays as it is.
  const salted = pbkdf2Sync(
    password.normalize('NFKC'),
    Buffer.from(s, 'base64'),
    iterations,
    32,
    'sha256',
  );
  const withoutProof = `c=${Buffer.from(HEADER).toString('base64')},r=${r}`;
  const signed = `n=,r=${nonce},${challenge},${withoutProof}`;
  const clientKey = hmac(salted, 'Client Key');
  const storedKey = createHash('sha256').update(clientKey).digest();
  const signature = hmac(storedKey, signed);
  const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] ?? 0)));
  return {
    message: `${withoutProof},p=${proof.toString('base64')}`,
    serverSignature: hmac(hmac(salted, 'Server Key'), signed),
  };
}

/** Whether the server's last message proves that it knows the verifier. */
export function serverIsGenuine({ serverSignature }: Proof, message: string): boolean {
  const said = Buffer.from(attributes(message).v ?? '', 'base64');
  return said.length === serverSignature.length && timingSafeEqual(said, serverSignature);
}

/** Whether what PostgreSQL keeps of a role's password (`pg_authid.rolpassword`) is of this one. */
export function isVerifierOf(password: string, verifier: string | null): boolean {
  const [, iterations, salt = '', storedKey = ''] =
    /^SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):/.exec(verifier ?? '') ?? [];
  if (iterations === undefined || Number(iterations) > ITERATIONS_MAX) return false;
  const bytes = Buffer.from(salt, 'base64');
  const salted = pbkdf2Sync(password.normalize('NFKC'), bytes, Number(iterations), 32, 'sha256');
  const own = createHash('sha256').update(hmac(salted, 'Client Key')).digest();
  const kept = Buffer.from(storedKey, 'base64');
  return kept.length === own.length && timingSafeEqual(kept, own);
}

function attributes(message: string): Readonly<Record<string, string>> {
  return Object.fromEntries(message.split(',').map((part) => [part[0] ?? '', part.slice(2)]));
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
