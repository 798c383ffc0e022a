/**
 * `domicile provision`: what an installation needs, on servers that others have started.
 *
 * Looks at every server first and refuses in words, before anything is changed. Then makes what is
 * missing, and says what that was. It can be repeated at any time: what is there stays as it is.
 */
import { resolve } from 'node:path';
import { CannotStart } from '../../regions/local/cannot-start.ts';
import { DatabaseError } from '../../regions/postgres.ts';
import { OperatorError } from '../operator.ts';
import { EDGES_NOTICE_MS } from '../plan-command.ts';
import type { Answer } from '../policy-command.ts';
import { ProvisionError, provision } from '../provision.ts';
import { readMigrations } from '../read-migrations.ts';
import { scriptsToRun } from '../scripts-to-run.ts';
import { openInstallation } from './open-installation.ts';
import { createDatabases, surveyServers } from './survey-servers.ts';

export type ProvisionCommandOptions = {
  installation: string;
  /** Only look. */
  check?: boolean;
  createDatabases?: boolean;
  /** `YYYY-MM-DD`. */
  today: string;
  by: string;
  print: (line: string) => void;
  signal: AbortSignal;
};

const INLINE =
  'passwords stand in the subscriptions, for tries only: a peer may copy an airlock, and would read there what opens its private cluster; name a passwordFile';

/** @throws CannotStart when the files are not sound. */
export async function provisionCommand(options: ProvisionCommandOptions): Promise<Answer> {
  const { today, by, print, signal } = options;
  const opened = await openInstallation(resolve(options.installation));
  const { operator, files, policy, policyText } = opened;
  const read = await readMigrations(files.migrations);
  if ('complaints' in read) throw new CannotStart(read.complaints.join('\n'));
  const scripts = await readScripts(files.schema);
  const makesDatabases = options.createDatabases === true;
  const { complaints, remarks: seen } = await surveyServers(operator, { makesDatabases });
  const inline = opened.installation.subscriptions.passwordFile === undefined;
  const remarks = [...seen, ...(inline ? [INLINE] : [])];
  const remarked = remarks.map((remark) => `Note: ${remark}`);
  if (complaints.length > 0) {
    return {
      lines: ['Nothing was changed:', ...complaints.map((line) => `  ${line}`), ...remarked],
      json: { outcome: 'refused', because: complaints, remarks },
      exitCode: 1,
    };
  }
  const servers = [...operator.catalogue.regions.values()].reduce(
    (sum, { nodes, airlocks }) => sum + nodes.length + airlocks.length,
    0,
  );
  if (options.check === true) {
    return {
      lines: [`All ${servers} servers are as they have to be.`, ...remarked],
      json: { outcome: 'sound', servers, remarks },
      exitCode: 0,
    };
  }
  const done: string[] = [];
  const detail = (step: string) => {
    done.push(step);
    print(step);
  };
  try {
    if (makesDatabases) await createDatabases(operator, detail);
    const { policy: inForce } = await provision({
      operator,
      policy,
      policyText,
      today,
      by,
      ...scripts,
      appMigrations: read.migrations,
      // Edges may serve already: it may be the hundredth time.
      edgesNoticeMs: EDGES_NOTICE_MS,
      report: print,
      detail,
      signal,
    });
    return {
      lines: [
        ...remarked,
        `Provisioned ${servers} servers in ${operator.catalogue.regions.size} regions, under policy version ${inForce.version}.`,
      ],
      json: { outcome: 'provisioned', version: inForce.version, made: done, remarks },
      exitCode: 0,
    };
  } catch (error) {
    const isForPeople =
      error instanceof ProvisionError ||
      error instanceof OperatorError ||
      error instanceof DatabaseError;
    if (!isForPeople && !signal.aborted) throw error;
    const because = signal.aborted
      ? 'ended before the last step'
      : error instanceof Error
        ? error.message
        : String(error);
    return {
      lines: [
        'Stopped half way; run the same command again to go on from there.',
        ...because.split('\n').map((line) => `  ${line}`),
        ...remarked,
      ],
      json: { outcome: 'stopped', because: because.split('\n'), made: done, remarks },
      exitCode: 1,
    };
  }
}

async function readScripts(schema: string) {
  try {
    return await scriptsToRun(schema);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new CannotStart(
      `${schema}  ${code === 'ENOENT' ? 'no such file' : `cannot be read (${code})`}`,
    );
  }
}
