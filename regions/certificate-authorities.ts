/**
 * Is this text a list of certificates?
 *
 * Node passes over what it cannot read in such a list, and then believes less than was written; so it
 * is looked at when it is read. Whether one is expired is seen when a server shows it.
 */
import { X509Certificate } from 'node:crypto';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** What is wrong with it, after the name of the file or key; undefined: nothing. */
export function complaintAboutAuthorities(pem: string): string | undefined {
  if (pem.includes('PRIVATE KEY-----'))
    return 'has a private key in it; only certificates belong here';
  const found = pem.match(CERTIFICATE) ?? [];
  if (found.length === 0) return 'has no certificate in PEM form in it';
  for (const [index, text] of found.entries()) {
    try {
      new X509Certificate(text);
    } catch {
      return `has a certificate that cannot be read: number ${index + 1} of ${found.length}`;
    }
  }
  return undefined;
}
