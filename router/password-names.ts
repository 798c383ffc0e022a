/**
 * Under which names are passwords and keys kept?
 *
 * Whoever keeps secrets gives one for a name, the same at every call (`regions/local/secrets.ts`).
 */
import { createHash } from 'node:crypto';
import type { RegionId } from '../regions/catalogue.ts';

/** Of the four logins of a region's edges. */
export const edgePassword = (region: RegionId) => `edge of ${region}`;
/** Of the role through which a region's airlocks read its private primary. */
export const feedPassword = (region: RegionId) => `feed of ${region}`;
/** Of the role that opens a region’s airlock to a peer. */
export const peerPassword = (airlock: RegionId, peer: RegionId) =>
  `airlock of ${airlock} for ${peer}`;
/** The secret that the key of a region's subject tokens is made from. */
export const subjectKeyName = (region: RegionId) => `subjects of ${region}`;

/** Of the operator who gives orders to a region's keeper. */
export const keeperToken = (region: RegionId) => `orders to the keeper of ${region}`;

/** Of whoever uses the consoles of a local world in this role. */
export const consoleToken = (role: 'viewer' | 'operator') => `console as ${role}`;

/** The secret that the key of the directory's hashes is made from. */
export const DIRECTORY_KEY_NAME = 'directory';

/** A key of 32 bytes from a secret that is kept as a password. */
export function keyFrom(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
