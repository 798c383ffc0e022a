/** Mistakes in router, keeper and policies that clients of a running system see while it is broken. */
import type { Killer, Mutant } from './mutant.ts';

const DATABASE = 'router/region-database.ts';
const EDGE = 'router/edge.ts';
const ONCE = 'router/once.ts';
const DOOR = 'regions/postgres.ts';
const PLACE_READ = 'policies/place-read.ts';
const PLACE_COPY = 'policies/place-copy.ts';
const KEEPER = 'policies/keeper/decide.ts';

const seen = (scenario: string, judge: string, seed = 7): Killer => ({
  kind: 'scenario',
  scenario,
  seed,
  judge,
});

export const SEEN_FROM_OUTSIDE: readonly Mutant[] = [
  // What a session has seen, and who may be read.
  {
    name: 'clients: a write raises nothing',
    mistake: 'The token of an answer to a write does not say where the write is.',
    file: DATABASE,
    find: '          witness.saw({ ...position, onReplica: false }, floor);\n',
    replace: '',
    killer: seen('replica-stands-still', 'session-guarantees'),
  },
  {
    name: 'clients: a read raises nothing',
    mistake: 'The token of an answer to a read does not say how much it has shown.',
    file: DATABASE,
    find: '    witness.saw(shown, compared);\n',
    replace: '',
    killer: seen('readers-meet-old-replicas', 'session-guarantees'),
  },
  {
    name: 'clients: no floor for sessions',
    mistake: 'Whatever the session has seen, the nearest replica answers it.',
    file: PLACE_READ,
    find: "return level.kind === 'session' || level.kind === 'strong' ? floor : NO_FLOOR;",
    replace: "return level.kind === 'strong' ? floor : NO_FLOOR;",
    killer: seen('replica-stands-still', 'session-guarantees'),
  },
  {
    name: 'clients: the first of several tokens counts',
    mistake: 'A client that holds tokens of two answers is believed to have seen one of them.',
    file: 'router/carried-session.ts',
    find: '  for (const { session } of opened) all = all && merge(all, session);\n',
    replace: '  all &&= merge(all, NO_SESSION);\n',
    killer: seen('many-hands-one-session', 'session-guarantees'),
  },
  {
    name: 'clients: a hop loses the token on its way back',
    mistake: 'The answer of the home is passed on without the token that came with it.',
    file: 'router/visit.ts',
    find: '      else passed.append(name, value);\n',
    replace: '      else if (name !== SESSION_HEADER) passed.append(name, value);\n',
    killer: seen('replica-stands-still', 'session-guarantees'),
  },
  {
    name: 'clients: strong is served by replicas',
    mistake: 'A strong read is answered by any copy that has what its session has seen.',
    file: PLACE_READ,
    find: "    if (level.kind === 'strong') {\n",
    replace: "    if (level.kind === 'strong' && seen.role !== 'replica') {\n",
    killer: seen('replica-stands-still', 'linearizable'),
  },
  {
    name: 'clients: a hop loses the level',
    mistake: 'What is sent on to the home is read there at the level of the policy.',
    file: EDGE,
    find: 'if (name !== HOP_HEADER && ',
    replace: "if (name !== HOP_HEADER && name !== 'domicile-consistency' && ",
    killer: seen('replica-stands-still', 'linearizable'),
  },
  {
    name: 'clients: bounded without a bound',
    mistake: 'A copy of which something is known is fresh enough for every bound.',
    file: PLACE_READ,
    find: 'return freshAsOfMs !== undefined && nowMs - freshAsOfMs <= maxStalenessMs;',
    replace: 'return freshAsOfMs !== undefined && nowMs >= maxStalenessMs - maxStalenessMs;',
    killer: seen('replica-stands-still', 'bounded-staleness'),
  },
  {
    name: 'clients: the age of the look is told',
    mistake: 'An answer says how long ago its node was looked at, not how old its data is.',
    file: DATABASE,
    find: 'const freshAsOfMs = this.#options.sightings.of(node)?.freshAsOfMs;',
    replace: 'const freshAsOfMs = this.#options.sightings.of(node)?.seenAtMs;',
    killer: seen('replica-stands-still', 'bounded-staleness'),
  },

  // Copies abroad.
  {
    name: 'clients: a copy within any bound',
    mistake: 'A bounded read abroad does not look at the age of the copy.',
    file: PLACE_COPY,
    find: "return ageMs <= level.maxStalenessMs ? { kind: 'serve', seen } : goHome('too_stale');",
    replace: "return ageMs >= 0 ? { kind: 'serve', seen } : goHome('too_stale');",
    killer: seen('airlock-killed', 'bounded-staleness'),
  },
  {
    name: 'clients: a pulse is always new',
    mistake: 'A copy counts as being as old as the look at its pulse, not as the pulse.',
    file: 'router/watch.ts',
    find: '        ageMs: Math.max(0, row.age_ms),\n',
    replace: '        ageMs: 0,\n',
    killer: seen('airlock-killed', 'bounded-staleness'),
  },
  {
    name: 'clients: a copy below the floor',
    mistake: 'A session that has written at home reads an older copy abroad.',
    file: PLACE_COPY,
    find: "  if (stands !== 'reached') return goHome(stands);\n",
    replace: '',
    killer: seen('airlock-killed', 'session-guarantees'),
  },

  // What became of a write.
  {
    name: 'clients: unknown is told as not applied',
    mistake: 'An edge that has lost its primary in a commit says that nothing was done.',
    file: DATABASE,
    find: "        if (outcome.failure.kind !== 'ended-by-handler') this.#stall(node).timedOut(now());\n        throw new Refusal({ kind: 'write-outcome-unknown' });",
    replace:
      "        if (outcome.failure.kind !== 'ended-by-handler') this.#stall(node).timedOut(now());\n        throw new Refusal({ kind: 'write-not-applied', why: 'The primary went away' });",
    killer: seen('reply-cut-without-key', 'acknowledged'),
  },
  {
    name: 'clients: an unknown commit is done again',
    mistake: 'A write whose commit was not answered begins anew at the next connection.',
    file: DATABASE,
    find: "if (!(isOutside && outcome.kind === 'not_applied' && comesAgain(outcome.failure))) {",
    replace:
      "if (outcome.kind !== 'unknown' && !(isOutside && outcome.kind === 'not_applied' && comesAgain(outcome.failure))) {",
    killer: seen('reply-cut-without-key', 'acknowledged'),
  },
  {
    name: 'clients: a commit that was sent is done',
    mistake: 'Once COMMIT has been sent, whatever comes back counts as an acknowledgement.',
    file: DOOR,
    find: '      return this.#commitFailed(commit, error);\n',
    replace:
      "      const ended = this.#commitFailed(commit, error);\n      if (ended.kind !== 'unknown') return ended;\n      return { kind: 'applied', value, after: { lsn: '0/0', timeline: 1, synchronous: true } as P };\n",
    killer: seen('primary-killed-unheard', 'acknowledged'),
  },
  {
    name: 'clients: a commit that takes too long has failed',
    mistake: 'A commit that waits for its standby past the budget is told as not applied.',
    file: DOOR,
    find: "      ? { kind: 'not_applied', failure }\n      : { kind: 'unknown', failure };",
    replace: "      ? { kind: 'not_applied', failure }\n      : { kind: 'not_applied', failure };",
    killer: seen('replica-disconnected', 'acknowledged'),
  },
  {
    name: 'clients: commits wait for one disk',
    mistake: 'The connections that write are opened with a setting under which no commit waits.',
    file: DATABASE,
    find: '        statement_timeout: String(STATEMENT_TIMEOUT_MS),\n',
    replace:
      "        statement_timeout: String(STATEMENT_TIMEOUT_MS),\n        ...(login === 'writer' && { synchronous_commit: 'local' }),\n",
    killer: seen('primary-killed-unheard', 'acknowledged'),
  },
  {
    name: 'clients: a stall is never over',
    mistake: 'After one commit that was not answered, a region goes on taking one write a second.',
    file: 'router/stall-guard.ts',
    find: '    this.#stalled = false;\n',
    replace: '    this.#nextProbeAtMs = 0;\n',
    killer: seen('cut-inside-commit-reply', 'liveness'),
  },

  // Once, under a key.
  {
    name: 'clients: keys belong to the edge that was asked',
    mistake: 'A retry at an edge of another region is another request.',
    file: EDGE,
    find: '      key: this.#hashes.ofKey(scope, idempotencyKey),\n',
    replace: '      key: this.#hashes.ofKey(c.env.visit.hopFrom + scope, idempotencyKey),\n',
    killer: seen('cut-inside-commit-reply', 'exactly-once'),
  },
  {
    name: 'clients: the answer is kept after the commit',
    mistake: 'What is answered is stored in a transaction of its own, once the first one is over.',
    file: ONCE,
    find: '      (sql) => answer && storeAnswer(sql, keyed, visit, answer),\n    );\n',
    replace: `    );
    if (answer !== undefined) {
      const kept = answer;
      const floor = floorOf(visit.session, edge.here);
      await edge.database.write(visit, floor, async (sql) => storeAnswer(sql, keyed, visit, kept), witness);
    }
`,
    killer: seen('cut-inside-commit-reply', 'exactly-once'),
  },
  {
    name: 'clients: a hop loses the key',
    mistake: 'What is sent on to the home arrives there without its idempotency key.',
    file: EDGE,
    find: 'if (name !== HOP_HEADER && ',
    replace: "if (name !== HOP_HEADER && name !== 'idempotency-key' && ",
    killer: seen('cut-inside-commit-reply', 'exactly-once'),
  },

  // Between regions.
  {
    name: 'clients: a hop without an answer was not done',
    mistake: 'A write that was sent to its home and not answered is refused as if it had not left.',
    file: EDGE,
    find: "      if (answer.sent && !safe) throw new Refusal({ kind: 'write-outcome-unknown' });\n",
    replace: '',
    killer: seen('half-open-links', 'acknowledged'),
  },
  {
    name: 'clients: a line too many in the log',
    mistake: 'What is sent on to its home is written to the log of the edge abroad.',
    file: EDGE,
    find: '    const headers = headersOf(c);\n',
    replace:
      '    this.#options.log({ event: "forward", to: home, body: Buffer.from(body ?? []).toString() });\n    const headers = headersOf(c);\n',
    killer: seen('reset-in-hop', 'no foreign byte'),
  },
  {
    name: 'clients: every hop is tried twice',
    mistake: 'A request that broke off on its way is sent once more, with a key or without.',
    file: EDGE,
    find: '      idempotencyKeyOf(c) !== undefined &&\n      visit.deadlineMs > this.now()',
    replace: '      visit.deadlineMs > this.now()',
    killer: seen('reset-in-hop', 'acknowledged'),
  },
  {
    name: 'clients: a circuit stays open',
    mistake: 'An edge that was given up is not used again when it answers.',
    file: 'policies/circuit.ts',
    find: "    : { kind: 'closed', heardAtMs, failures: FAILURES_MAX - 1, pauseMs: longer(circuit.pauseMs) };",
    replace:
      "    : { kind: 'open', heardAtMs, untilMs: nowMs + circuit.pauseMs, pauseMs: circuit.pauseMs };",
    killer: seen('partition-us-eu', 'liveness'),
  },
  {
    name: 'clients: hops stand in one line',
    mistake: 'What is sent to one region waits until what was sent to another one is answered.',
    file: 'router/peers.ts',
    find: '  async send(to: RegionId, place: Place, request: PeerRequest): Promise<PeerAnswer> {\n',
    replace: `  #line: Promise<unknown> = Promise.resolve();

  send(to: RegionId, place: Place, request: PeerRequest): Promise<PeerAnswer> {
    const turn = this.#line.then(() => this.#sendInTurn(to, place, request));
    this.#line = turn.catch(() => {});
    return turn;
  }

  async #sendInTurn(to: RegionId, place: Place, request: PeerRequest): Promise<PeerAnswer> {
`,
    killer: seen('region-slow', 'availability'),
  },
  {
    name: 'clients: everybody is asked for the home',
    mistake: 'Each request waits for what every other region knows of its subject.',
    file: EDGE,
    find: '    if (subject === key && home !== undefined) return { home, epoch };\n',
    replace: `    const others = [...this.catalogue.regions.keys()].filter((region) => region !== this.here);
    const ask = (peer: RegionId) => this.#lookUpThere(peer, key, visit.deadlineMs - this.now());
    await Promise.allSettled(others.map(ask));
    if (subject === key && home !== undefined) return { home, epoch };
`,
    killer: seen('region-slow', 'availability'),
  },

  // The keeper.
  {
    name: 'clients: any standby may follow',
    mistake: 'Who takes over is asked of the servers that answer, not of the record.',
    file: KEEPER,
    find: '  const heirs = isLossAccepted(record) ? [...nodes.keys()] : record.standbys;\n',
    replace: '  const heirs = [...nodes.keys()];\n',
    killer: seen('primary-frozen-alone', 'acknowledged'),
  },
  {
    name: 'clients: nobody brings the old primary back',
    mistake: 'A primary that was replaced is left as it is.',
    file: KEEPER,
    find: '    if (!isLost) continue;\n',
    replace: '    if (!isLost || node === former?.node) continue;\n',
    killer: seen('primary-killed', 'recovers'),
  },
];
