/**
 * Which mistakes could be made where sessions are kept?
 *
 * Most of them were made by others (docs/decisions/0019-simulated-worlds.md), some by us. Those in
 * the decisions are left to simulated worlds, those in SQL and in the driver's door to real servers.
 * What the edge does around the decisions has an image in the simulation; mistakes in the image show
 * that the worlds would notice them.
 */
import type { Killer, Mutant } from './mutant.ts';

const WORLDS: Killer = { kind: 'simulation', steps: 3_000_000, seed: 1 };

const STANDING = 'policies/standing.ts';
const SESSION = 'policies/session.ts';
const PLACE_READ = 'policies/place-read.ts';
const PLACE_COPY = 'policies/place-copy.ts';
const SIGHTING = 'regions/sighting.ts';
const IMAGE = 'policies/simulation/edge.ts';
const SERVERS = 'policies/simulation/cluster.ts';
const DATABASE = 'router/region-database.ts';

export const SESSION_CORE: readonly Mutant[] = [
  // How positions stand to each other.
  {
    name: 'positions compared as text',
    mistake: '9/FF comes after 10/0, as it does in the alphabet.',
    file: STANDING,
    find: "return seen.lsn <= at.lsn ? 'reached' : 'behind';",
    replace: "return String(seen.lsn) <= String(at.lsn) ? 'reached' : 'behind';",
    killer: WORLDS,
  },
  {
    name: 'a newer timeline is ignored',
    mistake: 'A copy that missed the promotion is compared by position alone.',
    file: STANDING,
    find: "if (seen.timeline > at.timeline) return 'older_timeline';",
    replace: '',
    killer: WORLDS,
  },
  {
    name: 'the fork is ignored',
    mistake: 'What was written on the old timeline after the fork counts as kept.',
    file: STANDING,
    find: "if (ancestor === undefined || seen.lsn > ancestor.end) return 'lost';",
    replace: "if (ancestor === undefined) return 'lost';",
    killer: WORLDS,
  },
  {
    name: 'an unknown history is taken for granted',
    mistake: 'Before anybody has read where the old timeline ended, its positions are compared.',
    file: STANDING,
    find: "      return 'history_unknown';",
    replace: "      return seen.lsn <= at.lsn ? 'reached' : 'behind';",
    killer: { kind: 'test', file: 'policies/place-read.test.ts' },
  },
  {
    name: 'one of two positions is compared',
    mistake: 'Of a floor with two histories the last one decides, not the worst.',
    file: STANDING,
    find: 'if (one > worst) worst = one;',
    replace: 'worst = one;',
    killer: WORLDS,
  },
  {
    name: 'a merge keeps the last token',
    mistake: 'Of two sessions the one that came last wins.',
    file: SESSION,
    find: 'floors.set(region, mergeFloors(floorOf(a, region), floor));',
    replace: 'floors.set(region, floor);',
    killer: WORLDS,
  },
  {
    name: 'a merge takes the lower position',
    mistake: 'Of two positions of one history the lower one is kept.',
    file: STANDING,
    find: 'return lower.onReplica && !higher.onReplica ? { ...higher, onReplica: true } : higher;',
    replace: 'return lower.onReplica && !higher.onReplica ? { ...lower, onReplica: true } : lower;',
    killer: WORLDS,
  },
  {
    name: 'a merge forgets who showed it',
    mistake: 'A higher position of a primary makes a lower one of a replica look proven.',
    file: STANDING,
    find: 'return lower.onReplica && !higher.onReplica ? { ...higher, onReplica: true } : higher;',
    replace: 'return higher;',
    killer: { kind: 'test', file: 'policies/standing.test.ts' },
  },
  {
    name: 'an older success clears the floor',
    mistake: 'Whatever is read settles all that the session has seen, compared or not.',
    file: SESSION,
    find: 'const open = floor.filter((one) => !settles(seen, compared, one));',
    replace: 'const open = NO_FLOOR;',
    killer: WORLDS,
  },
  {
    name: 'reads on a replica raise nothing',
    mistake: 'Only writes and reads on the primary raise the session.',
    file: SESSION,
    find: '  const open = floor.filter((one) => !settles(seen, compared, one));',
    replace:
      '  if (seen.onReplica) return session;\n  const open = floor.filter((one) => !settles(seen, compared, one));',
    killer: WORLDS,
  },
  {
    name: 'after a loss the sighting is the floor',
    mistake: 'The session goes on from where a lagging replica stood, below what is left to it.',
    file: STANDING,
    find: 'const begin = history?.ancestors.at(-1)?.end ?? at.lsn;',
    replace: 'const begin = at.lsn;',
    killer: { kind: 'test', file: 'policies/session.test.ts' },
  },

  // Which node is read, and what proves it.
  {
    name: 'a replica that is behind serves',
    mistake: 'What may get there is taken for what has got there.',
    file: PLACE_READ,
    find: "    if (stands === 'reached') {",
    replace: "    if (stands === 'reached' || stands === 'behind') {",
    killer: { kind: 'test', file: 'policies/place-read.test.ts' },
  },
  {
    name: 'a loss is not told',
    mistake: 'A session whose writes are gone is refused as if it could come back later.',
    file: PLACE_READ,
    find: "  if (loss !== undefined) return { kind: 'lost', ...loss, passedOver };",
    replace: '',
    killer: WORLDS,
  },
  {
    name: 'a loss goes unnoticed in strong reads',
    mistake: 'Only session reads compare the floor, so a strong read passes over what is gone.',
    file: PLACE_READ,
    find: "return level.kind === 'session' || level.kind === 'strong' ? floor : NO_FLOOR;",
    replace: "return level.kind === 'session' ? floor : NO_FLOOR;",
    killer: WORLDS,
  },
  {
    name: 'bounded reads settle the floor',
    mistake: 'A bounded read ends what the session had seen without having compared it.',
    file: IMAGE,
    find: 'visit.session = raise(visit.session, here, saw, compared);',
    replace: 'visit.session = raise(visit.session, here, saw);',
    killer: WORLDS,
  },
  {
    name: 'strong without a proof',
    mistake: 'A primary that was replaced without knowing it answers strong reads.',
    file: PLACE_READ,
    find: "      return isOpen(primary, floor) ? 'both' : 'after';",
    replace: "      return isOpen(primary, floor) ? 'before' : 'none';",
    killer: WORLDS,
  },
  {
    name: 'strong proved before the read',
    mistake: 'The server was the primary before the read, and may have been replaced during it.',
    file: PLACE_READ,
    find: "      return isOpen(primary, floor) ? 'both' : 'after';",
    replace: "      return 'before';",
    killer: WORLDS,
  },
  {
    name: 'a primary shows what its replica has shown',
    mistake: 'Nobody waits for the primary to be told of a commit that its replica showed.',
    file: PLACE_READ,
    find: '      onReplica && timeline === at.timeline && (acknowledged === undefined || lsn > acknowledged),',
    replace:
      '      onReplica && timeline !== timeline && (acknowledged === undefined || lsn > at.lsn),',
    killer: WORLDS,
  },
  {
    name: 'bounded ignores the age',
    mistake: 'Any copy that was fresh once is fresh enough.',
    file: PLACE_READ,
    find: 'return freshAsOfMs !== undefined && nowMs - freshAsOfMs <= maxStalenessMs;',
    replace: 'return freshAsOfMs !== undefined && nowMs >= maxStalenessMs - maxStalenessMs;',
    killer: WORLDS,
  },
  {
    name: 'unknown age is no age',
    mistake: 'A copy of which nothing is known counts as fresh.',
    file: PLACE_READ,
    find: 'return freshAsOfMs !== undefined && nowMs - freshAsOfMs <= maxStalenessMs;',
    replace: 'return nowMs - (freshAsOfMs ?? nowMs) <= maxStalenessMs;',
    killer: WORLDS,
  },
  {
    name: 'the old primary is taken back',
    mistake: 'When the newer primary falls silent, the older one is the primary again.',
    file: SIGHTING,
    find: 'if (newest?.systemId !== at.systemId || newest.timeline < at.timeline) this.#newest = at;',
    replace: 'if (newest !== at) this.#newest = at;',
    killer: { kind: 'test', file: 'regions/sighting.test.ts' },
  },

  // What is remembered of nodes.
  {
    name: 'a replica is remembered across a restart',
    mistake: 'How far it had come counts, although it came back behind.',
    file: SIGHTING,
    find: 'return a.incarnation === b.incarnation && a.role === b.role && sameLog(a.at, b.at);',
    replace: 'return a.role === b.role && sameLog(a.at, b.at);',
    killer: { kind: 'test', file: 'regions/sighting.test.ts' },
  },
  {
    name: 'an old connection speaks for the new start',
    mistake: 'A position that was learned from one start of a server is kept for another.',
    file: SIGHTING,
    find: 'if (seen === undefined || seen.incarnation !== incarnation || seen.at.lsn >= lsn) return;',
    replace: 'if (seen === undefined || seen.at.lsn >= lsn) return;',
    killer: { kind: 'test', file: 'regions/sighting.test.ts' },
  },
  {
    name: 'looks vouch for freshness',
    mistake: 'A primary that was merely seen counts as one that was proved.',
    file: SIGHTING,
    find: 'return this.#acknowledged.findLast((',
    replace: 'return this.#looks.findLast((',
    killer: WORLDS,
  },
  {
    name: 'a commit vouches for those after it',
    mistake: 'The position after a commit counts as acknowledged, though others there still wait.',
    file: SIGHTING,
    find: 'const acknowledged = higher(seen.acknowledged, confirmed);',
    replace: 'const acknowledged = higher(seen.acknowledged, at.lsn);',
    killer: WORLDS,
  },
  {
    name: 'a copy abroad passes for the home',
    mistake: 'Whoever has read a copy in one region is served by a copy in another one.',
    file: PLACE_COPY,
    find: "if (through !== here) return goHome('seen_elsewhere');",
    replace: '',
    killer: { kind: 'test', file: 'policies/place-copy.test.ts' },
  },

  // What the edge does around the decisions, in its image.
  {
    name: 'the position is taken before the read',
    mistake: 'The session is raised to where the server stood before it showed more.',
    file: IMAGE,
    find: `          const value = server.read(subject);
          agenda.in(random.between(0, 0.3), () => {
            if (server.starts !== starts) return;
            reply({ kind: 'shown', value, stood: cluster.standsAt(server) });
          });`,
    replace: `          const stood = cluster.standsAt(server);
          agenda.in(random.between(0, 0.3), () => {
            if (server.starts !== starts) return;
            reply({ kind: 'shown', value: server.read(subject), stood });
          });`,
    killer: WORLDS,
  },
  {
    name: 'the check shares the snapshot of the read',
    mistake: 'What is read was seen before the server had been waited for.',
    file: IMAGE,
    find: `        const show = () => {
          const value = server.read(subject);`,
    replace: `        const value = server.read(subject);
        const show = () => {`,
    killer: WORLDS,
  },
  {
    name: 'a known position survives a promotion',
    mistake:
      'A server that moved on to another timeline since it was seen is believed all the same.',
    file: IMAGE,
    find: "      if (stands !== 'reached') {\n        return { ...answer",
    replace: "      if (stands === 'other_cluster') {\n        return { ...answer",
    killer: { kind: 'simulation', steps: 6_000_000, seed: 2 },
  },
  {
    name: 'unknown is rounded to failed',
    mistake: 'A write whose commit was not answered is reported as not applied.',
    file: IMAGE,
    find: "if (outcome.kind !== 'answered' || outcome.value.end !== 'clean') return { kind: 'unknown' };",
    replace:
      "if (outcome.kind !== 'answered' || outcome.value.end !== 'clean') return refused('write-not-applied');",
    killer: WORLDS,
  },
  {
    name: 'a warning is rounded to applied',
    mistake: 'A commit that no standby confirmed is reported as applied.',
    file: IMAGE,
    find: "if (outcome.kind !== 'answered' || outcome.value.end !== 'clean') return { kind: 'unknown' };",
    replace: "if (outcome.kind !== 'answered') return { kind: 'unknown' };",
    killer: WORLDS,
  },
  {
    name: 'a former primary judges positions',
    mistake: 'Another start of the server is asked what the region has written.',
    file: IMAGE,
    find: "if (answer.kind !== 'answered' || answer.incarnation !== primary.incarnation) return undefined;",
    replace: "if (answer.kind !== 'answered') return undefined;",
    killer: WORLDS,
  },
  {
    name: 'a write waits for no standby to vouch',
    mistake: 'Without synchronous replication an acknowledged write counts as a proof.',
    file: IMAGE,
    find: '    if (cluster.synchronous) {\n      this.board',
    replace: '    if (here !== undefined) {\n      this.board',
    killer: WORLDS,
  },
  {
    name: 'the insert position is the floor',
    mistake: 'Positions of what is not flushed are given out, and may never be reached.',
    file: SERVERS,
    find: 'at({ log, role, replayed, flushed }: Server)',
    replace: 'at({ log, role, replayed, inserted: flushed }: Server)',
    killer: WORLDS,
  },

  // In SQL, in the driver's door and in the edge itself, with real servers.
  {
    name: 'the insert position, in SQL',
    mistake: 'An idle replica never reaches the position behind a page header.',
    file: 'regions/schema/0005-sessions.sql',
    find: '    lsn := pg_current_wal_flush_lsn();',
    replace: '    lsn := pg_current_wal_insert_lsn();',
    killer: {
      kind: 'test',
      file: 'router/sessions.world.test.ts',
      test: 'never told of a position beyond the last record',
    },
  },
  {
    name: 'a commit with a warning is applied, in the door',
    mistake: 'A cancelled wait for the standby answers success, and that is believed.',
    file: 'regions/postgres.ts',
    find: "    if (this.#warning !== undefined) {\n      return { kind: 'unknown'",
    replace: "    if (this.#warning === 'never') {\n      return { kind: 'unknown'",
    killer: {
      kind: 'test',
      file: 'regions/postgres.pg.test.ts',
      test: 'is unknown when an operator cancels it',
    },
  },
  {
    name: 'a lost commit is not applied, in the door',
    mistake: 'The link died after COMMIT had left, and the write is reported as not applied.',
    file: 'regions/postgres.ts',
    find: '    return refused || commit.state === null',
    replace: "    return refused || failure.kind === 'connection-lost' || commit.state === null",
    killer: {
      kind: 'test',
      file: 'regions/postgres.pg.test.ts',
      test: 'a lost connection with COMMIT under way is unknown',
    },
  },
  {
    name: 'a barrier that began earlier is shared, in the edge',
    mistake: 'Whoever asks while a commit is under way gets that one.',
    file: 'router/barrier.ts',
    find: 'this.#running === undefined ? this.#begin() : this.#follow(this.#running);',
    replace: 'this.#running === undefined ? this.#begin() : this.#running;',
    killer: { kind: 'test', file: 'router/barrier.test.ts' },
  },
  {
    name: 'strong without a proof, in the edge',
    mistake: 'The barrier after a strong read is left out.',
    file: DATABASE,
    find: "        if (proof === 'after' || proof === 'both')\n          await this.#prove(",
    replace:
      "        if (proof === 'none' && visit.level.kind === 'strong')\n          await this.#prove(",
    killer: {
      kind: 'test',
      file: 'router/promotion.world.test.ts',
      test: 'answers no strong read',
    },
  },
  {
    name: 'a position from nowhere is waited for, in the edge',
    mistake: 'Nobody asks the primary whether a position can be reached at all.',
    file: DATABASE,
    find: 'if (primary === undefined || !isAhead(floor, primary.at)) return;',
    replace: "if (primary === undefined || primary.role === 'primary') return;",
    killer: {
      kind: 'test',
      file: 'router/sessions.world.test.ts',
      test: 'beyond all that was written',
    },
  },
];
