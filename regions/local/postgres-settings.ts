/**
 * How is each local cluster configured, and whom does it let in?
 *
 * Text only. The file is written anew before every start, so it always follows the catalogue.
 * What changes while a server runs (who must confirm commits) is set with ALTER SYSTEM and lives
 * in `postgresql.auto.conf`, which PostgreSQL reads last.
 */

import type { NodeAddress } from '../catalogue.ts';
import { slotName } from '../catalogue.ts';

/** May stream from private nodes, and nothing else. */
export const STANDBY_ROLE = 'domicile_standby';
export const SUPERUSER = 'postgres';

export type ClusterKind = 'private' | 'airlock';

export type ServerSettings = {
  kind: ClusterKind;
  node: NodeAddress;
  /** Whether a commit survives a crash of the whole machine; without it only one of processes. */
  durable: boolean;
  /** Whom a replica follows, and the file with the password; undefined on everything else. */
  follows: { host: string; port: number; passfile: string } | undefined;
};

export function settingsText({ kind, node, durable, follows }: ServerSettings): string {
  const settings: Record<string, string | number | boolean> = {
    ...EVERYWHERE,
    ...(kind === 'private' ? PRIVATE : AIRLOCK),
    port: node.port,
    cluster_name: node.name,
    fsync: durable,
    // A base backup forces full pages for as long as it takes, whatever stands here.
    full_page_writes: durable,
    // Zeros are written ahead so that the disk is known to have room: 16 MB for each file of the log.
    wal_init_zero: durable,
    ...(follows === undefined
      ? {}
      : { primary_conninfo: conninfo(node.name, follows), primary_slot_name: slotName(node.name) }),
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${quoted(value)}\n`);
  return `# Written anew before every start; changes made here are lost.\n${lines.join('')}`;
}

/** Every server that is started on this machine, whatever for. */
export const ON_THIS_MACHINE = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  shared_memory_type: 'mmap',
  // In the data directory, so that a killed server leaves nothing behind in /dev/shm.
  dynamic_shared_memory_type: 'mmap',
  huge_pages: 'off',
  jit: false,
  timezone: 'UTC',
  log_timezone: 'UTC',
  password_encryption: 'scram-sha-256',
  // The default keeps three more processes per cluster, 27 in a world of nine.
  io_method: 'sync',
} as const;

/** What every server says to its log, whatever it is for. */
export const DISCREET_LOG = {
  // Logs travel further than tables, so neither statements nor parameters nor row values go there.
  log_destination: 'stderr',
  logging_collector: false,
  log_line_prefix: '%m [%p] ',
  log_error_verbosity: 'terse',
  log_min_error_statement: 'panic',
  log_parameter_max_length: 0,
  log_parameter_max_length_on_error: 0,
  log_statement: 'none',
  log_min_duration_statement: -1,
} as const;

const EVERYWHERE = {
  ...ON_THIS_MACHINE,

  wal_level: 'logical',
  max_wal_senders: 16,
  max_replication_slots: 16,
  max_active_replication_origins: 16,
  max_worker_processes: 16,
  max_logical_replication_workers: 12,
  max_sync_workers_per_subscription: 4,
  track_commit_timestamp: true,
  // A peer that stays away must not fill the disk; its slot is given up first.
  max_slot_wal_keep_size: '1GB',
  min_wal_size: '32MB',
  max_wal_size: '512MB',
  // A walsender ships only what is flushed, and an asynchronous apply waits for this writer.
  wal_writer_delay: '10ms',
  wal_retrieve_retry_interval: '500ms',
  wal_receiver_status_interval: '1s',
  wal_receiver_timeout: '5s',
  wal_sender_timeout: '5s',

  ...DISCREET_LOG,
  log_autovacuum_min_duration: -1,
  log_checkpoints: false,
  log_connections: '',
  log_disconnections: false,
  log_replication_commands: false,
} as const;

const PRIVATE = {
  max_connections: 100,
  shared_buffers: '64MB',
  hot_standby: true,
  hot_standby_feedback: true,
  sync_replication_slots: true,
} as const;

const AIRLOCK = {
  max_connections: 40,
  shared_buffers: '16MB',
  // What narrowed policy lets out no more should leave the disk soon, also from old segments.
  wal_recycle: false,
} as const;

/**
 * `dbname` is for the slot synchronisation, which runs queries. The password comes from a file
 * because this text can be read by every monitoring role and is part of every base backup.
 */
function conninfo(
  name: string,
  { host, port, passfile }: { host: string; port: number; passfile: string },
): string {
  const words = {
    host,
    port: String(port),
    user: STANDBY_ROLE,
    dbname: 'postgres',
    passfile,
    application_name: name,
    connect_timeout: '2',
    sslmode: 'disable',
    gssencmode: 'disable',
  };
  return Object.entries(words)
    .map(([key, value]) => `${key}='${value.replace(/[\\']/g, '\\$&')}'`)
    .join(' ');
}

/**
 * On a private node two lines; on an airlock one. `replication` is a keyword here and not covered
 * by `all`, but note what that does not stop: a role with REPLICATION that may enter a database
 * can copy the whole cluster through it. That is why airlocks are clusters of their own.
 */
export function hbaText(kind: ClusterKind): string {
  const lines = ['host all all 127.0.0.1/32 scram-sha-256'];
  if (kind === 'private') {
    lines.push(`host replication ${STANDBY_ROLE} 127.0.0.1/32 scram-sha-256`);
  }
  return `# Written anew before every start; changes made here are lost.\n${lines.join('\n')}\n`;
}

/** Who must have a commit before it is acknowledged: each by name, one of several is enough. */
export function synchronousNames(replicas: readonly string[]): string {
  const names = replicas.map((name) => `"${name}"`).join(', ');
  return replicas.length > 1 ? `ANY 1 (${names})` : names;
}

/** The names in a setting as `synchronousNames` writes it; of any other form, its words. */
export function namesIn(setting: string): string[] {
  const quoted = [...setting.matchAll(/"((?:[^"]|"")*)"/g)].map(([, name = '']) => name);
  return quoted.length > 0 ? quoted : setting.split(/[\s,()]+/).filter((word) => word !== '');
}

/**
 * `postgresql.auto.conf` without what a boot decides anew. Whoever was followed before may have
 * moved to another port, or may follow us by now. Where a restored node was to recover to is for
 * that recovery alone: as a replica it would stop there for ever.
 */
export function withoutUpstream(autoConf: string, isRestored = false): string {
  const gone = isRestored ? UPSTREAM : new RegExp(`${UPSTREAM.source}|${RECOVERY.source}`);
  return autoConf
    .split('\n')
    .filter((line) => !gone.test(line))
    .join('\n');
}

const UPSTREAM = /^\s*(primary_conninfo|primary_slot_name)\s*=/;
const RECOVERY = /^\s*(restore_command|recovery_target\w*)\s*=/;

function quoted(value: string | number | boolean): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  return typeof value === 'number' ? String(value) : `'${value.replaceAll("'", "''")}'`;
}
