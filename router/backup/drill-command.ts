/**
 * `domicile region <id> drill`: restores the newest backup where it harms nobody, and says whether
 * the region could be had back.
 *
 * Exit status 0 when it could, 1 with findings, 2 when something could not be looked at.
 */
import { findBinaries } from '../../regions/local/platform-binaries.ts';
import { Session } from '../operator.ts';
import type { Answer } from '../policy-command.ts';
import { LOGINS } from '../region-database.ts';
import { DRILL_EXIT, type DrillReport, drill } from './drill.ts';
import { regionChecks } from './drill-checks.ts';
import { openRegion, type RegionOptions } from './region-command.ts';

export type DrillCommandOptions = RegionOptions & {
  /** The backup to restore; by default the newest one. */
  backup?: string;
  wallClock: () => number;
  now: () => number;
  random: (bytes: number) => Buffer;
  print: (line: string) => void;
  ending: AbortSignal;
};

export async function drillCommand(options: DrillCommandOptions): Promise<Answer> {
  const { region, folder, place, operator, files } = await openRegion(options);
  const session = new Session(operator);
  const primary = await session.nodeOf(region.id).finally(() => session.close());
  const report = await drill({
    region: region.id,
    folder,
    place,
    binaries: await findBinaries(folder.user, options.print),
    primary: operator.superuser(primary.name),
    reader: LOGINS.reader,
    checks: await regionChecks({ region, operator, app: files.app }),
    ...(options.backup !== undefined && { backup: options.backup }),
    wallClock: options.wallClock,
    now: options.now,
    random: () => options.random(8).toString('hex'),
    report: options.print,
    ending: options.ending,
  });
  return { lines: inWords(report), json: report, exitCode: DRILL_EXIT[report.verdict] };
}

function inWords(report: DrillReport): string[] {
  const { region, backup, findings, checks, rpo, rto, restoredTo, verdict } = report;
  const lines: string[] = [];
  if (findings.length > 0) {
    lines.push(`${findings.length} findings:`);
    lines.push(...findings.map(({ check, words }) => `  ${check}: ${words}`));
  }
  const blind = checks.filter(({ because }) => because !== undefined);
  if (blind.length > 0) {
    lines.push('Not looked at:', ...blind.map(({ name, because }) => `  ${name}: ${because}`));
  }
  for (const { name, looked, because } of checks) {
    if (because === undefined) lines.push(`  looked at ${name}: ${looked}`);
  }
  if (backup !== undefined && restoredTo !== undefined) {
    lines.push(
      `Backup ${backup.id} and the log behind it were restored, ${report.tables} tables with ${report.rows} rows.`,
    );
  }
  if (rpo !== undefined) {
    lines.push(`RPO: the archive was ${rpo.bytes} bytes and ${rpo.ms} ms behind the primary.`);
  }
  if (rto !== undefined) {
    lines.push(
      `RTO: ${rto.ms} ms until reads were answered (files ${rto.filesMs} ms, recovery ${rto.recoveryMs} ms).`,
    );
  }
  const said = {
    restorable: `${region} can be restored. Everything that the drill made is removed.`,
    findings: `${region} is not safe. Everything that the drill made is removed.`,
    'could-not-look': `Could not look at everything in ${region}. Everything that the drill made is removed.`,
  };
  lines.push(said[verdict]);
  return lines;
}
