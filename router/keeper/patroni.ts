/**
 * How is a region followed and moved whose primary is Patroni's business?
 *
 * Patroni decides and acts by itself, with its lock in etcd or the like; here it is asked over REST,
 * and what it says is held against what each server says over SQL. A promotion is a wish that Patroni
 * may refuse, in its own words. Demoting and following are never ours.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Region } from '../../regions/catalogue.ts';
import type { Endpoint } from '../../regions/postgres.ts';
import { askHttp, type Credentials, type HttpAnswer } from './ask-http.ts';
import { type Believed, believe, NewestTimelines } from './claimed-primary.ts';
import { NodeLooks } from './node-looks.ts';
import {
  type PatroniCluster,
  type PatroniPromotion,
  readCluster,
  readHistory,
  readSettings,
  readSystemId,
  type Understood,
  wordsOf,
} from './patroni-answers.ts';
import { settingComplaints } from './patroni-settings.ts';
import {
  type NodeView,
  type RegionView,
  refused,
  type Steward,
  type StewardOutcome,
} from './steward.ts';

export type PatroniOptions = {
  /** Its nodes are called what Patroni calls its members. */
  region: Region;
  /** Where the members' REST interfaces are; any of them may be down. */
  members: readonly string[];
  /** How a node is looked at over SQL. */
  endpoint: (node: string) => Endpoint;
  /** For interfaces that ask for it. */
  auth?: Credentials;
  /** Monotonic milliseconds. */
  now: () => number;
  /** How long each question may take; a member reads etcd first. */
  askMsMax?: number;
  /** How long Patroni may take to move the primary. */
  promoteMsMax?: number;
  /** How long Patroni may take to make a standby. */
  followMsMax?: number;
};

export type PatroniView = RegionView &
  /** Where Patroni and SQL agree; otherwise the doubt, for an operator. */
  Believed & { patroni: Says };

export type Says =
  | ({ kind: 'answered'; by: string } & PatroniCluster)
  /** What is wrong with each member's answer. */
  | { kind: 'silent'; why: string };

const ASK_MS_MAX = 2_000;
/** Patroni itself gives up after twice ten turns of a second. */
const PROMOTE_MS_MAX = 30_000;
/** A copy of a large database takes longer, and is no reason to wait here. */
const FOLLOW_MS_MAX = 60_000;
const LOOK_EVERY_MS = 100;

export class PatroniSteward implements Steward {
  readonly #options: PatroniOptions;
  readonly #looks = new NodeLooks();
  readonly #newest = new NewestTimelines();

  constructor(options: PatroniOptions) {
    this.#options = options;
  }

  async observe(): Promise<PatroniView> {
    const { region, endpoint } = this.#options;
    const [patroni, nodes] = await Promise.all([
      this.#ask(),
      Promise.all(region.nodes.map(({ name }) => this.#looks.look(name, endpoint(name)))),
    ]);
    this.#newest.notice(nodes);
    return { nodes, ...this.#believed(patroni, nodes), patroni: patroni.says };
  }

  async promote(node: string, { timeline }: { timeline: number }): Promise<StewardOutcome> {
    const view = await this.observe();
    if (hasTakenOver(view, node, timeline)) return { kind: 'done' };
    const { patroni } = view;
    if (patroni.kind === 'silent') {
      return refused(`no Patroni was asked to promote ${node}: ${patroni.why}`);
    }
    const candidate = view.nodes.find((one) => one.node === node);
    if (candidate?.kind !== 'seen' || candidate.role !== 'replica') {
      return refused(`${node} is no replica that answers over SQL`);
    }
    if (candidate.timeline !== timeline) {
      return refused(`${node} follows timeline ${candidate.timeline}, not ${timeline}`);
    }
    const role = patroni.members.find(({ name }) => name === node)?.role;
    // Patroni itself lets a failover, and without synchronous mode a switchover as well, go to a
    // member that lacks what was acknowledged.
    if (role !== 'sync_standby') {
      const why = `Patroni does not call ${node} a synchronous standby, so acknowledged commits may be missing there`;
      return refused(why);
    }
    const { leader } = patroni;
    const [path, body] =
      leader === undefined
        ? (['/failover', { candidate: node }] as const)
        : (['/switchover', { leader, candidate: node }] as const);
    const { promoteMsMax = PROMOTE_MS_MAX } = this.#options;
    const answer = await this.#tell(patroni.by, path, body, promoteMsMax);
    if (answer.kind === 'failed' && !answer.sent) {
      return refused(`no Patroni was asked to promote ${node}: ${answer.why}`);
    }
    const words =
      answer.kind === 'failed' ? answer.why : `${answer.status} ${wordsOf(answer.text)}`;
    if (answer.kind === 'answered' && answer.status < 500 && answer.status !== 200) {
      return refused(`Patroni refuses to promote ${node}: ${words}`);
    }
    const isDone = await this.#within(promoteMsMax, (now) => hasTakenOver(now, node, timeline));
    if (isDone) return { kind: 'done' };
    return {
      kind: 'unknown',
      why: `Patroni was asked to promote ${node} and said: ${words}; over SQL it has not happened`,
    };
  }

  async demote(node: string): Promise<StewardOutcome> {
    const { nodes, patroni } = await this.observe();
    const seen = nodes.find((one) => one.node === node);
    const isReplica = seen?.kind === 'seen' && seen.role === 'replica';
    if (isReplica && patroni.kind === 'answered' && patroni.leader !== node) {
      return { kind: 'done' };
    }
    return refused(
      `Patroni demotes ${node} by itself, when another node is promoted; ask for that`,
    );
  }

  /** Waits for what Patroni does by itself. */
  async follow(node: string, primary: string): Promise<StewardOutcome> {
    const { followMsMax = FOLLOW_MS_MAX } = this.#options;
    const isDone = await this.#within(followMsMax, (view) => {
      const seen = view.nodes.find((one) => one.node === node);
      return (
        view.primary === primary &&
        seen?.kind === 'seen' &&
        seen.role === 'replica' &&
        seen.timeline === view.timeline
      );
    });
    if (isDone) return { kind: 'done' };
    return refused(
      `Patroni makes standbys by itself, and ${node} does not follow ${primary} after ${followMsMax} ms`,
    );
  }

  /** The promotions that Patroni remembers, oldest first. */
  async history(): Promise<Understood<PatroniPromotion[]>> {
    return this.#first('/history', readHistory);
  }

  /** What is wrong with Patroni's settings for a region that may lose nothing. */
  async complaints(): Promise<Understood<readonly string[]>> {
    const settings = await this.#first('/config', readSettings);
    return 'why' in settings ? settings : { ok: settingComplaints(settings.ok) };
  }

  async close(): Promise<void> {
    await this.#looks.close();
  }

  #believed({ says, systemId }: Asked, nodes: readonly NodeView[]): Believed {
    if (says.kind === 'silent') return { doubt: `no Patroni answers: ${says.why}` };
    const { leader } = says;
    if (leader === undefined) return { doubt: 'Patroni has no leader now' };
    const seen = nodes.find((one) => one.node === leader);
    if (seen?.kind === 'seen' && systemId !== undefined && seen.systemId !== systemId) {
      return {
        doubt: `the Patroni at ${says.by} minds another cluster: ${systemId}, not ${seen.systemId}`,
      };
    }
    return believe({ by: 'Patroni', node: leader }, nodes, this.#newest);
  }

  /** All members at once: one that is cut off takes its whole time. */
  async #ask(): Promise<Asked> {
    const answers = await Promise.all(
      this.#options.members.map(async (url) => {
        const [cluster, status] = await Promise.all([
          this.#get(url, '/cluster'),
          this.#get(url, '/patroni'),
        ]);
        return { url, cluster: readCluster(cluster), systemId: readSystemId(status) };
      }),
    );
    for (const { url, cluster, systemId } of answers) {
      if ('why' in cluster) continue;
      return {
        says: { kind: 'answered', by: url, ...cluster.ok },
        systemId: 'ok' in systemId ? systemId.ok : undefined,
      };
    }
    const why = answers.flatMap(({ url, cluster }) =>
      'why' in cluster ? [`${url}: ${cluster.why}`] : [],
    );
    return { says: { kind: 'silent', why: why.join('; ') }, systemId: undefined };
  }

  async #first<T>(
    path: string,
    read: (answer: HttpAnswer) => Understood<T>,
  ): Promise<Understood<T>> {
    const { members } = this.#options;
    const answers = await Promise.all(members.map(async (url) => read(await this.#get(url, path))));
    const why = answers.map((one, nth) => ('why' in one ? `${members[nth]}: ${one.why}` : ''));
    return answers.find((one) => 'ok' in one) ?? { why: why.join('; ') };
  }

  #get(url: string, path: string): Promise<HttpAnswer> {
    const { auth, askMsMax: timeoutMs = ASK_MS_MAX } = this.#options;
    return askHttp({ method: 'GET', url: url + path, timeoutMs, ...(auth && { auth }) });
  }

  /** One member after the other, but only for as long as none of them has heard the wish. */
  async #tell(first: string, path: string, body: object, timeoutMs: number): Promise<HttpAnswer> {
    const { auth, members } = this.#options;
    let answer: HttpAnswer = { kind: 'failed', sent: false, why: 'no member is known' };
    for (const url of new Set([first, ...members])) {
      const question = { method: 'POST', url: url + path, body, timeoutMs } as const;
      answer = await askHttp({ ...question, ...(auth && { auth }) });
      if (answer.kind === 'answered' || answer.sent) return answer;
    }
    return answer;
  }

  async #within(timeoutMs: number, is: (view: PatroniView) => boolean): Promise<boolean> {
    const { now } = this.#options;
    const untilMs = now() + timeoutMs;
    for (;;) {
      if (is(await this.observe())) return true;
      if (now() >= untilMs) return false;
      await pause(LOOK_EVERY_MS);
    }
  }
}

type Asked = { says: Says; systemId: bigint | undefined };

/** Over SQL alone it could be an old primary; Patroni's word alone can be early. */
function hasTakenOver(view: PatroniView, node: string, before: number): boolean {
  return view.primary === node && view.timeline !== undefined && view.timeline > before;
}
