/**
 * How does a copy of an empty cluster become a cluster of its own?
 *
 * Servers, backups and edges tell clusters apart by the system identifier, so two must never share
 * one. It stands in `pg_control`, under a checksum, and at the head of each file of the log, which
 * the server compares at its start: a mistake here is a start that fails, not one that looks well.
 */
import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** In `global/pg_control`, and in the first page of a log file behind a header of 24 bytes. */
const SYSTEM_ID_OFFSET = 0;
const SYSTEM_ID_IN_LOG_OFFSET = 24;
/** Says that a page of the log begins with the long header, which has the identifier. */
const INFO_OFFSET = 2;
const LONG_HEADER = 0x0002;
/** What hides which roles exist from who tries passwords: 32 bytes, 3 before the checksum. */
const NONCE_BYTES = 32;
const NONCE_BEFORE_CHECKSUM = 35;
/** The struct is this long at least, and the file is filled with zeros behind it. */
const CONTROL_BYTES_MIN = 200;
const CONTROL_BYTES_MAX = 512;
const LOG_FILE = /^[0-9A-F]{24}$/;

/** False, and nothing is changed, when the files are not as this knows them. */
export async function renewIdentity(dataDirectory: string): Promise<boolean> {
  const controlFile = join(dataDirectory, 'global', 'pg_control');
  const control = await readFile(controlFile);
  const checksumAt = checksumOffset(control);
  if (checksumAt === undefined) return false;
  const old = control.readBigUInt64LE(SYSTEM_ID_OFFSET);
  const fresh = newSystemId();
  const logs = join(dataDirectory, 'pg_wal');
  const files = new Map<string, Buffer>();
  for (const name of (await readdir(logs)).filter((one) => LOG_FILE.test(one))) {
    const log = await readFile(join(logs, name));
    const isLong = (log.readUInt16LE(INFO_OFFSET) & LONG_HEADER) !== 0;
    if (!isLong || log.readBigUInt64LE(SYSTEM_ID_IN_LOG_OFFSET) !== old) return false;
    log.writeBigUInt64LE(fresh, SYSTEM_ID_IN_LOG_OFFSET);
    files.set(join(logs, name), log.subarray(0, SYSTEM_ID_IN_LOG_OFFSET + 8));
  }
  if (files.size === 0) return false;
  control.writeBigUInt64LE(fresh, SYSTEM_ID_OFFSET);
  randomBytes(NONCE_BYTES).copy(control, checksumAt - NONCE_BEFORE_CHECKSUM);
  control.writeUInt32LE(crc32c(control.subarray(0, checksumAt)), checksumAt);
  for (const [path, head] of files) await writeFile(path, head, { flag: 'r+' });
  await writeFile(controlFile, control, { flag: 'r+' });
  return true;
}

/** Where the checksum of everything before it stands: the versions differ in it. */
function checksumOffset(control: Buffer): number | undefined {
  for (let at = CONTROL_BYTES_MIN; at + 4 <= CONTROL_BYTES_MAX; at += 4) {
    if (control.readUInt32LE(at) === crc32c(control.subarray(0, at))) return at;
  }
  return undefined;
}

/** Seconds in front, as PostgreSQL makes them, and chance behind. */
function newSystemId(): bigint {
  return (BigInt(Math.floor(Date.now() / 1000)) << 32n) | BigInt(randomBytes(4).readUInt32LE());
}

/** The Castagnoli polynomial, reflected. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}
