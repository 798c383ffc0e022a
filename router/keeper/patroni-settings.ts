/**
 * Does a Patroni cluster keep what an edge acknowledges?
 *
 * Its shared settings (`GET /config`) decide whether a commit waits for a standby, and whether a
 * failover can go to one that lacks it. docs/runbook.md says why each of them is wanted.
 */

/** Values of `synchronous_commit` under which a commit is acknowledged before its standby has it. */
const TOO_EARLY = new Set(['off', 'local', 'remote_write', 'false', 'no', '0']);

/** One sentence for each setting that is not as it should be. */
export function settingComplaints(settings: Readonly<Record<string, unknown>>): string[] {
  const complaints: string[] = [];
  const postgresql = recordIn(settings.postgresql);
  const parameters = recordIn(postgresql.parameters);
  if (!isOn(settings.synchronous_mode)) {
    complaints.push(
      'synchronous_mode is not on: commits are acknowledged that a failover loses; set it to on',
    );
  } else if (!isOn(settings.synchronous_mode_strict)) {
    complaints.push(
      'synchronous_mode_strict is not on: the last node left acknowledges commits that only it has; with three nodes set it to on',
    );
  }
  const commit = String(parameters.synchronous_commit ?? 'on');
  if (TOO_EARLY.has(commit)) {
    complaints.push(
      `synchronous_commit is ${commit}: a commit is acknowledged before its standby has it; leave it on`,
    );
  }
  if (postgresql.use_slots !== undefined && !isOn(postgresql.use_slots)) {
    complaints.push('use_slots is off: a standby that was away may have to be copied anew');
  }
  if (!isOn(parameters.hot_standby_feedback)) {
    complaints.push(
      'hot_standby_feedback is not on: reads at replicas are cancelled, and logical slots cannot be kept there; set it to on',
    );
  }
  if (!sparesFeeds(settings.ignore_slots)) {
    complaints.push(
      'ignore_slots does not spare logical slots: Patroni drops those that feed the airlocks; add "- type: logical"',
    );
  }
  return complaints;
}

/** A matcher spares a slot when everything that it says of it is so. */
function sparesFeeds(ignored: unknown): boolean {
  if (!Array.isArray(ignored)) return false;
  return ignored.some((matcher) => {
    const { name, database, type = 'logical', plugin = 'pgoutput' } = recordIn(matcher);
    const isGeneral = name === undefined && database === undefined;
    return isGeneral && type === 'logical' && plugin === 'pgoutput';
  });
}

function recordIn(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** As Patroni reads a boolean. */
function isOn(value: unknown): boolean {
  return value === true || /^(on|true|yes|1)$/i.test(String(value));
}
