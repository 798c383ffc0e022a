/**
 * Where do tests get certificates from?
 *
 * Made here, in DER by hand, because not every machine that runs the tests has a program for it:
 * X.509 version 3 over P-256, for whatever names and times a test wants to see refused.
 */
import {
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { chownSync, writeFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { join } from 'node:path';
import { serverUser } from './local/process-user.ts';

export type Authority = { name: string; key: KeyObject; ca: string };
/** Both in PEM form. */
export type ServerCertificate = { key: string; cert: string };

export function makeAuthority(name = 'Authority of a test'): Authority {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const cert = certificate({
    subject: name,
    publicKey: pair.publicKey,
    issuer: name,
    signer: pair.privateKey,
    extensions: [
      extension('551d13', sequence(boolean(true)), true),
      // To sign certificates.
      extension('551d0f', tlv(0x03, Buffer.from([2, 0x04])), true),
    ],
  });
  return { name, key: pair.privateKey, ca: cert };
}

/** Valid from an hour ago for a day, unless the hours say otherwise. */
export function makeCertificate(
  by: Authority,
  hosts: readonly string[],
  { fromHours = -1, toHours = 24 } = {},
): ServerCertificate {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const names = hosts.map((host) =>
    isIPv4(host)
      ? tlv(0x87, Buffer.from(host.split('.').map(Number)))
      : tlv(0x82, Buffer.from(host, 'latin1')),
  );
  const cert = certificate({
    // Two certificates of one authority need different subjects for nothing; one of another does.
    subject: `server ${hosts.join(' ')}`,
    publicKey: pair.publicKey,
    issuer: by.name,
    signer: by.key,
    fromHours,
    toHours,
    extensions: [extension('551d11', sequence(...names), false)],
  });
  return { key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, cert };
}

/** Puts them where a test's servers can read them; answers with the settings of such a server. */
export function certificateFiles(folder: string, { key, cert }: ServerCertificate) {
  const files = {
    ssl_cert_file: join(folder, 'server.crt'),
    ssl_key_file: join(folder, 'server.key'),
  };
  writeFileSync(files.ssl_cert_file, cert);
  writeFileSync(files.ssl_key_file, key, { mode: 0o600 });
  const user = serverUser(process.geteuid?.());
  if (user !== undefined) chownSync(files.ssl_key_file, user.uid, user.gid);
  return { ssl: 'on', ...files };
}

type Wanted = {
  subject: string;
  publicKey: KeyObject;
  issuer: string;
  signer: KeyObject;
  extensions: readonly Buffer[];
  fromHours?: number;
  toHours?: number;
};

function certificate(wanted: Wanted): string {
  const { subject, publicKey, issuer, signer, extensions, fromHours = -1, toHours = 24 } = wanted;
  const body = sequence(
    // Version 3.
    tlv(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ECDSA_SHA256,
    commonName(issuer),
    sequence(time(fromHours), time(toHours)),
    commonName(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...extensions)),
  );
  const signature = sign('sha256', body, signer);
  const der = sequence(body, ECDSA_SHA256, tlv(0x03, Buffer.concat([Buffer.from([0]), signature])));
  // Never an empty line, which would end a header and leave no certificate.
  const lines = der
    .toString('base64')
    .match(/.{1,64}/g)
    ?.join('\n');
  const pem = `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
  // A mistake above is told here, and not by a handshake.
  new X509Certificate(pem);
  return pem;
}

function tlv(tag: number, body: Buffer): Buffer {
  const length =
    body.length < 0x80
      ? [body.length]
      : body.length < 0x100
        ? [0x81, body.length]
        : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(parts));
}

function integer(bytes: Buffer): Buffer {
  return tlv(0x02, bytes);
}

function boolean(value: boolean): Buffer {
  return tlv(0x01, Buffer.from([value ? 0xff : 0]));
}

function oid(hex: string): Buffer {
  return tlv(0x06, Buffer.from(hex, 'hex'));
}

const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'));

function commonName(name: string): Buffer {
  return sequence(tlv(0x31, sequence(oid('550403'), tlv(0x0c, Buffer.from(name)))));
}

function time(hoursFromNow: number): Buffer {
  const at = new Date(Date.now() + hoursFromNow * 3_600_000).toISOString();
  return tlv(0x18, Buffer.from(`${at.replaceAll(/[-:T]/g, '').slice(0, 14)}Z`));
}

function extension(id: string, value: Buffer, critical: boolean): Buffer {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), tlv(0x04, value));
}
