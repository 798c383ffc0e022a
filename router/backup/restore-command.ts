/**
 * `domicile region <id> restore`: makes a data directory that recovers to a moment, for real.
 *
 * It starts nothing and replaces nothing: what is made lies in a new folder, verified, and recovers
 * when a server is started on it. Putting it in the place of a node is for a person to do.
 */
import { existsSync } from 'node:fs';
import { realpath, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { CannotStart } from '../../regions/local/cannot-start.ts';
import { serverUser } from '../../regions/local/process-user.ts';
import { isWorld, worldRoot } from '../../regions/local/world-folder.ts';
import { formatLsn } from '../../regions/position.ts';
import { knownCatalogue } from '../local-operator.ts';
import type { Answer } from '../policy-command.ts';
import { type ArchiveFolder, archiveAt } from './archive-folder.ts';
import { type Backup, listBackups } from './backups.ts';
import {
  askForRecovery,
  recoverySettings,
  restoreFiles,
  settingLines,
  type Target,
  writeOwn,
} from './restore.ts';

export type RestoreCommandOptions = {
  region: string;
  root: string;
  /** Where the backups lie; by default where the world keeps them. It need not run. */
  from?: string;
  /** The data directory to make. */
  to: string;
  /** A moment with its time zone, to which recovery goes; by default the end of the archive. */
  until?: string;
  backup?: string;
};

export async function restoreCommand(options: RestoreCommandOptions): Promise<Answer> {
  const { region, until } = options;
  const folder = await folderOf(options);
  const into = resolve(options.to);
  if (existsSync(into)) throw new CannotStart(`${into} is there already. Name a new folder.`);
  const moment = until === undefined ? undefined : momentOf(until);
  if (until !== undefined && moment === undefined) {
    throw new CannotStart(
      `--until  "${until}" is no moment with a time zone, such as 2026-11-21T20:15:00Z`,
    );
  }
  const usable = (await listBackups(folder)).filter((one) => one.usable);
  const chosen = choose(usable, options.backup, moment?.ms);
  if (chosen === undefined) {
    throw new CannotStart(
      `${folder.path} has no usable backup of ${region}${until === undefined ? '' : ` from before ${until}`}${options.backup === undefined ? '' : ` that is called ${options.backup}`}.`,
    );
  }
  const files = await restoreFiles({ folder, backup: chosen, into, durable: true });
  if (files.kind === 'damaged') {
    await rm(into, { recursive: true, force: true });
    const damage = files.damage.map(({ file, words }) => `${file}: ${words}`);
    return {
      lines: [`Backup ${chosen.id} is damaged. Nothing is left in ${into}.`, ...damage],
      json: { restored: false, backup: chosen.id, damage },
      exitCode: 1,
    };
  }
  const target: Target = moment === undefined ? { kind: 'end' } : { kind: 'time', at: moment.at };
  const settings = recoverySettings(folder, files.timeline, target);
  // The last word on settings, which a local world's start leaves as it is.
  await writeOwn(join(into, 'postgresql.auto.conf'), settingLines(settings), folder.user);
  await askForRecovery(into, folder);
  return {
    lines: [
      `Backup ${chosen.id} of ${region} is in ${into}: ${files.files} files, each one as it was sent.`,
      `A server that is started on it recovers ${until === undefined ? `to the end of the archive, ${formatLsn(files.reaches)}` : `to ${until}`}, and then takes writes on a timeline of its own.`,
    ],
    json: {
      restored: true,
      backup: chosen.id,
      into,
      files: files.files,
      segments: files.segments,
      reaches: formatLsn(files.reaches),
    },
    exitCode: 0,
  };
}

/** ISO 8601, also as PostgreSQL prints it; and so that PostgreSQL takes it for a target. */
function momentOf(text: string): { ms: number; at: string } | undefined {
  const [, day, time, zone = ''] = MOMENT.exec(text) ?? [];
  const offset = zone === 'Z' ? '+00:00' : zone.length === 3 ? `${zone}:00` : zone;
  const ms = Date.parse(`${day}T${time}${offset}`);
  return Number.isNaN(ms) ? undefined : { ms, at: `${day} ${time}${offset}` };
}

const MOMENT = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d(?::?\d\d)?)$/;

/** A world that is to be restored may well be down. */
async function folderOf({
  region,
  root: path,
  from,
}: RestoreCommandOptions): Promise<ArchiveFolder> {
  const user = serverUser(process.geteuid?.());
  if (from !== undefined) return archiveAt(resolve(from), user);
  const root = await worldRoot(path);
  if (root === undefined || !(await isWorld(root))) {
    throw new CannotStart(
      `There is no Domicile world in ${path}. Name its folder with --root, or the backups' with --from.`,
    );
  }
  const place = await realpath(join(root, 'postgres'));
  const { regions } = (await knownCatalogue(root)) ?? { regions: new Map() };
  const folder = regions.get(region)?.backup?.folder ?? join(place, 'backups', region);
  return archiveAt(folder, user);
}

function choose(
  usable: readonly Backup[],
  named: string | undefined,
  untilMs: number | undefined,
): Backup | undefined {
  if (named !== undefined) return usable.find(({ id }) => id === named);
  // Recovery cannot end before the backup did.
  return usable.findLast(({ takenAtMs }) => untilMs === undefined || takenAtMs < untilMs);
}
