/**
 * How does a socket to PostgreSQL become one that nobody between can read, or pose as its other end?
 *
 * PostgreSQL's own way: the client asks, the server answers with one byte, then comes the handshake.
 * The driver has these steps, too, but goes on after a no, takes our listeners off the socket, and
 * lets the environment switch verification off; our replication client has none. Here a no is an
 * end, there is no way back to plain text, and what is verified is said and not inherited.
 */
import net from 'node:net';
import tls from 'node:tls';
import type { Tls } from './catalogue.ts';
import type { ForeignError } from './postgres-failure.ts';

type Encrypting = Tls & { mode: Exclude<Tls['mode'], 'disable'> };

export function isEncrypting(tls: Tls | undefined): tls is Encrypting {
  return tls !== undefined && tls.mode !== 'disable';
}

/** @throws TypeError for what no reader of a catalogue lets pass; before anybody dials. */
export function prepareTls(tls: Tls | undefined): void {
  if (isEncrypting(tls)) contextOf(tls);
}

/** Length 8, then the number that stands where a version of the protocol would. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const YES = 'S'.charCodeAt(0);
const NO = 'N'.charCodeAt(0);

/**
 * Takes over a socket that is connected or dials. Rejects with an error whose `code` says why; the
 * socket is destroyed then. A deadline is the caller's: destroying the socket ends this, too.
 */
export function startTls(
  socket: net.Socket,
  host: string,
  how: Encrypting,
): Promise<tls.TLSSocket> {
  const options = clientOptions(host, how);
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    const closed = () => fail(coded('CONNECTION_CLOSED'));
    socket.on('error', fail).once('close', closed);
    socket.once('data', (answer: Buffer) => {
      if (answer[0] === NO) fail(coded('TLS_NOT_OFFERED'));
      // More than the one byte was not encrypted, so anybody may have put it there.
      else if (answer[0] !== YES || answer.length !== 1) fail(coded('TLS_NOT_UNDERSTOOD'));
      else {
        // From here on the reason comes from above; below it is only seen that all is over.
        socket.off('close', closed);
        const secured = tls.connect({ ...options, socket });
        secured.on('error', fail).once('close', closed);
        secured.once('secureConnect', () => resolve(secured));
      }
    });
    socket.write(SSL_REQUEST);
  });
}

/**
 * All that decides whom we believe is named: Node would take `rejectUnauthorized` and the lowest
 * version from the environment.
 */
function clientOptions(host: string, how: Encrypting): tls.ConnectionOptions {
  return {
    host,
    ...(net.isIP(host) === 0 && { servername: host }),
    secureContext: contextOf(how),
    rejectUnauthorized: how.mode !== 'require',
    ...(how.mode === 'verify-ca' && { checkServerIdentity: () => undefined }),
  };
}

/** Reading a provider's list of certificates takes longer than a handshake. */
const contexts = new WeakMap<Tls, tls.SecureContext>();

function contextOf(how: Encrypting): tls.SecureContext {
  const { mode, ca, caFile } = how;
  if (caFile !== undefined) throw new TypeError(`${caFile} was not read`);
  // Without one, Node's authorities would do, and they vouch for anybody's name.
  if (mode === 'verify-ca' && ca === undefined)
    throw new TypeError('verify-ca without an authority');
  const made =
    contexts.get(how) ??
    tls.createSecureContext({ minVersion: 'TLSv1.2', ...(ca !== undefined && { ca }) });
  contexts.set(how, made);
  return made;
}

function coded(code: string): Error {
  return Object.assign(new Error(code), { code });
}

const NOT_TRUSTED = 'its certificate comes from no authority that is believed here';

/** Those of OpenSSL and Node, and our own. */
const WORDS: Readonly<Record<string, string>> = {
  TLS_NOT_OFFERED: 'it offers no TLS, and plain text is not tried in its place',
  TLS_NOT_UNDERSTOOD: 'it does not answer as a PostgreSQL server that is asked for TLS',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host name',
  CERT_HAS_EXPIRED: 'its certificate, or that of its authority, has expired',
  CERT_NOT_YET_VALID: 'its certificate, or that of its authority, is not valid yet',
  CERT_REVOKED: 'its certificate was revoked',
  DEPTH_ZERO_SELF_SIGNED_CERT: NOT_TRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: NOT_TRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: NOT_TRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NOT_TRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NOT_TRUSTED,
  CERT_SIGNATURE_FAILURE: NOT_TRUSTED,
  CERT_UNTRUSTED: NOT_TRUSTED,
  INVALID_CA: NOT_TRUSTED,
  INVALID_PURPOSE: 'its certificate is not made for a server',
};

/** What is wrong with TLS at the other end, said of it; undefined where this code is not about TLS. */
export function tlsInWords(code: string): string | undefined {
  const known = WORDS[code];
  if (known !== undefined) return known;
  return /^(ERR_SSL_|ERR_TLS_|EPROTO$)/.test(code) ? 'the TLS handshake with it failed' : undefined;
}

/** PostgreSQL ends its words so when it has looked for whom it lets in, and found nobody. */
export function plainRefusalInWords({ code, message }: ForeignError): string | undefined {
  return code === '28000' && typeof message === 'string' && message.endsWith(', no encryption')
    ? 'its pg_hba.conf lets us in over TLS at most, and the regions file asks for none (tls)'
    : undefined;
}
