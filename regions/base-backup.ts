/**
 * How is a base backup of a running server received so that it can be kept?
 *
 * As PostgreSQL sends it: one tar archive and a manifest with the SHA-256 of each file, computed by
 * the server. It is of use only with the log between its two positions, which is not part of it.
 */
import { type Lsn, lsnFromPostgres } from './position.ts';
import type { Failed, ReplicationSession } from './replication-client.ts';

/** The checkpoint at its beginning may take as long as this on a busy server. */
const SILENCE_MS_MAX = 120_000;

export type BaseBackup = {
  kind: 'taken';
  /** Recovery needs the log from here on this timeline … */
  from: Lsn;
  timeline: number;
  /** … and at least up to here, or what was copied does not fit together. */
  to: Lsn;
  bytes: number;
};

export type BackupSink = {
  archive(bytes: Buffer): Promise<void>;
  manifest(bytes: Buffer): Promise<void>;
};

export async function receiveBaseBackup(
  session: ReplicationSession,
  label: string,
  sink: BackupSink,
): Promise<BaseBackup | Failed> {
  if (!/^[\w.-]+$/.test(label)) throw new RangeError('a label is made of letters and digits');
  const options = `LABEL '${label}', CHECKPOINT 'fast', WAL false, WAIT false, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256'`;
  let archives = 0;
  let inManifest = false;
  let bytes = 0;
  const outcome = await session.converse(
    `BASE_BACKUP (${options})`,
    SILENCE_MS_MAX,
    async (part) => {
      // `n` begins an archive, `m` the manifest; `d` is a piece of either, `p` progress.
      if (part[0] === 0x6e) archives++;
      else if (part[0] === 0x6d) inManifest = true;
      else if (part[0] === 0x64) {
        const piece = part.subarray(1);
        bytes += piece.length;
        await (inManifest ? sink.manifest(piece) : sink.archive(piece));
      }
      // A second archive is a tablespace, which lies outside of the data directory.
      return archives > 1;
    },
  );
  if (outcome.kind === 'failed') return outcome;
  if (outcome.kind === 'left') return notUnderstood('the cluster has tablespaces');
  const [first] = outcome.rows;
  const last = outcome.rows.at(-1);
  if (first?.recptr == null || last?.recptr == null || !inManifest) {
    return notUnderstood('a base backup without its positions');
  }
  return {
    kind: 'taken',
    from: lsnFromPostgres(first.recptr),
    timeline: Number(first.tli),
    to: lsnFromPostgres(last.recptr),
    bytes,
  };
}

function notUnderstood(said: string): Failed {
  return { kind: 'failed', failure: { kind: 'not-understood', said } };
}
