/**
 * What id does an edge give to somebody who brought none?
 *
 * A UUID of version 8 (RFC 9562 section 5.8) laid out like version 7: milliseconds first, so that
 * new rows lie together in an index, then 74 random bits. Version 8 marks it as drawn by an edge:
 * callers may not choose one, so a drawn id needs no claim in other regions. A retry has to meet the
 * id that its first attempt was given; then all 122 bits come from a keyed hash, and it is claimed.
 */

/** @param random at least 10 random bytes */
export function uuid8(unixMs: number, random: Uint8Array): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(Math.floor(unixMs), 0, 6);
  bytes.set(random.subarray(0, 10), 6);
  return text(bytes);
}

/** The same id for the same bytes, wherever it is asked for. @param hash at least 16 bytes */
export function uuid8From(hash: Uint8Array): string {
  return text(Buffer.from(hash.subarray(0, 16)));
}

function text(bytes: Buffer): string {
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
