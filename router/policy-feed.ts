/**
 * Which policy is in force here now?
 *
 * Whoever looks at the nodes tells what was recorded there, and one immutable object is replaced by
 * the next. Replicas lag and are asked all the same, so a record is believed only if it is not older
 * than the last one, and a version only if it is not lower. A text that cannot be read changes
 * nothing. Nothing here asks a database; `policy-record.ts` has the questions.
 */
import { createHash } from 'node:crypto';
import type { Policy } from '../policies/policy.ts';
import type { RegionId } from '../regions/catalogue.ts';
import { type Openings, PolicyInForce } from './policy-in-force.ts';
import type { Origin, PolicyRecord, RecordedPolicy } from './policy-record.ts';

export type PolicyText = { policy: Policy } | { complaints: readonly string[] };

export type PolicyFeedOptions = {
  here: RegionId;
  /** What the edge was started with; it counts until the region has recorded a version. */
  file: { policy: Policy; text: string };
  /** The policy that a recorded text states, for the catalogue of this edge. */
  read: (text: string, label: string) => PolicyText;
  /** Asks this region's databases now. Rejects when none answers. */
  ask: (heardOf: number) => Promise<PolicyRecord>;
  log: (line: Record<string, unknown>) => void;
};

type Accepted = { policy: Policy; sha256: string; source: 'recorded' };
type Believed = { systemId: bigint; timeline: number; stamp: bigint };

export class PolicyFeed {
  readonly #options: PolicyFeedOptions;
  readonly #fileSha256: string;
  #current: PolicyInForce;
  #believed: Believed | undefined;
  /** Recorded texts that were found unreadable; reading them again would say the same. */
  readonly #unreadable = new Set<string>();
  readonly #asking = new Map<number, Promise<void>>();
  #unreadSaid = false;

  constructor(options: PolicyFeedOptions) {
    const { here, file } = options;
    this.#options = options;
    this.#fileSha256 = sha256Of(file.text);
    this.#current = new PolicyInForce({
      here,
      policy: file.policy,
      sha256: this.#fileSha256,
      source: 'file',
      openings: { kind: 'unread' },
    });
  }

  /** For a request: take it once. */
  get current(): PolicyInForce {
    return this.#current;
  }

  /** Whether a node with this stamp has something to tell. */
  hasNews(origin: Origin, stamp: bigint): boolean {
    return order(this.#believed, origin, stamp) === 'newer';
  }

  /** Puts in force what was recorded, as far as it is not older than what is known. */
  take(record: PolicyRecord): void {
    const { origin, stamp } = record;
    this.#unreadSaid = false;
    if (order(this.#believed, origin, stamp) === 'older') return;
    this.#believed = { systemId: origin.systemId, timeline: origin.timeline, stamp };
    const { here, log } = this.#options;
    const before = this.#current;
    const { policy, sha256, source } = this.#newest(record.inForce) ?? before;
    // A region that has lost its records does not open what it cannot vouch for.
    const openings: Openings =
      record.everRecorded || source === 'recorded'
        ? { kind: 'recorded', open: record.openings }
        : { kind: 'never-recorded' };
    const samePolicy = policy === before.policy && source === before.source;
    if (samePolicy && sameOpenings(openings, before.openings)) return;
    this.#current = new PolicyInForce({ here, policy, sha256, source, openings });
    log({
      level: 'info',
      event: 'policy-in-force',
      version: policy.version,
      sha256,
      source,
      openings: openings.kind === 'recorded' ? openings.open.length : openings.kind,
    });
  }

  /** Looks once at this region's databases; `heardOf` is a version in force elsewhere. Never rejects. */
  refresh(heardOf = 0): Promise<void> {
    const asking = this.#asking.get(heardOf);
    if (asking !== undefined) return asking;
    const asked = this.#options
      .ask(heardOf)
      .then(
        (record) => this.take(record),
        () => undefined,
      )
      .finally(() => this.#asking.delete(heardOf));
    this.#asking.set(heardOf, asked);
    return asked;
  }

  /** The node is there, and its tables of policies cannot be read. Said once. */
  unread(node: string, why: string): void {
    if (this.#unreadSaid) return;
    this.#unreadSaid = true;
    this.#options.log({ level: 'error', event: 'policy-record-unreadable', node, why });
  }

  /** The first that can be read, if it is to replace the one in force. */
  #newest(versions: readonly RecordedPolicy[]): Accepted | undefined {
    const before = this.#current;
    for (const recorded of versions) {
      if (before.source === 'recorded' && recorded.version < before.version) return undefined;
      const accepted = this.#accepted(recorded);
      if (accepted !== undefined) return accepted;
    }
    return undefined;
  }

  #accepted(recorded: RecordedPolicy): Accepted | undefined {
    const { version, text } = recorded;
    const before = this.#current;
    const sha256 = sha256Of(text);
    if (before.source === 'recorded' && version === before.version) {
      if (sha256 !== before.sha256) this.#complain(recorded, 'the text of a version changed');
      return undefined;
    }
    const { file } = this.#options;
    if (version === file.policy.version && sha256 === this.#fileSha256) {
      return { policy: file.policy, sha256, source: 'recorded' };
    }
    const policy = this.#read(recorded, sha256);
    if (policy === undefined) return undefined;
    // At a start only: afterwards the file is expected to be left behind.
    if (before.source === 'file') {
      this.#options.log({
        level: 'warn',
        event: 'policy-file-differs',
        file: file.policy.version,
        recorded: version,
      });
    }
    return { policy, sha256, source: 'recorded' };
  }

  #read(recorded: RecordedPolicy, sha256: string): Policy | undefined {
    const { version, text } = recorded;
    if (this.#unreadable.has(`${version} ${sha256}`)) return undefined;
    if (recorded.sha256 !== sha256) {
      return this.#complain(recorded, 'the text does not have the recorded sha256');
    }
    const reading = this.#options.read(text, `policy version ${version}`);
    if ('complaints' in reading) return this.#complain(recorded, reading.complaints.join('; '));
    const { policy } = reading;
    if (policy.version === version) return policy;
    return this.#complain(recorded, `recorded as ${version}, and the text says ${policy.version}`);
  }

  #complain({ version, text }: RecordedPolicy, why: string): undefined {
    const name = `${version} ${sha256Of(text)}`;
    if (this.#unreadable.has(name)) return;
    this.#unreadable.add(name);
    const inForce = this.#current.version;
    this.#options.log({ level: 'error', event: 'policy-unreadable', version, why, inForce });
  }
}

/**
 * How a record stands to the one that is believed. A stamp says nothing across clusters or
 * timelines, so of a new history only a primary is believed: a replica may not have replayed the
 * part that it has received.
 */
function order(
  believed: Believed | undefined,
  { role, systemId, timeline }: Origin,
  stamp: bigint,
): 'older' | 'same' | 'newer' {
  if (believed === undefined) return 'newer';
  const sameCluster = systemId === believed.systemId;
  if (sameCluster && timeline === believed.timeline) {
    if (stamp === believed.stamp) return 'same';
    return stamp < believed.stamp ? 'older' : 'newer';
  }
  if (role !== 'primary') return 'older';
  return sameCluster && timeline < believed.timeline ? 'older' : 'newer';
}

function sameOpenings(a: Openings, b: Openings): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sha256Of(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
