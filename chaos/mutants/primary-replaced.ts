/** Mistakes in what an edge does while its primary is replaced, runs alone, or is gone. */
import type { Mutant } from './mutant.ts';

const ROOM = 'router/waiting-room.ts';
const KEEPER = 'router/keeper-says.ts';
const DATABASE = 'router/region-database.ts';
const SWITCHOVER = 'router/switchover.world.test.ts';
const FAILOVER = 'router/failover.world.test.ts';
const DECIDE = 'policies/keeper/decide.ts';
const MODEL = 'policies/keeper/decide.test.ts';
const MODES = 'router/keeper/modes.world.test.ts';

export const PRIMARY_REPLACED: readonly Mutant[] = [
  {
    name: 'an outage keeps everybody waiting',
    mistake: 'A region that has had no primary for minutes lets each request wait for its budget.',
    file: ROOM,
    find: 'Math.min(deadlineMs - ANSWER_MS, this.#lastSignMs + PATIENCE_MS)',
    replace: 'deadlineMs - ANSWER_MS',
    killer: { kind: 'test', file: 'router/waiting-room.test.ts' },
  },
  {
    name: 'a wait in vain takes the whole budget',
    mistake: 'Nothing is left to say that it was in vain.',
    file: ROOM,
    find: 'deadlineMs - ANSWER_MS',
    replace: 'deadlineMs',
    killer: { kind: 'test', file: 'router/waiting-room.test.ts' },
  },
  {
    name: 'whoever comes may wait',
    mistake: 'Those who wait for a primary can take every place that there is.',
    file: ROOM,
    find: 'this.#waiting.size >= placesMax',
    replace: 'placesMax < 0',
    killer: { kind: 'test', file: 'router/waiting-room.test.ts' },
  },
  {
    name: 'any primary of the record will do',
    mistake: 'A primary that was replaced is believed because its successor runs alone.',
    file: KEEPER,
    find: '    says.primary === node &&\n',
    replace: '',
    killer: { kind: 'test', file: 'router/keeper-says.test.ts' },
  },
  {
    name: 'a plan of the keeper does not count',
    mistake: 'The primary is believed while the keeper is about to replace it.',
    file: KEEPER,
    find: '    says.isQuiet\n',
    replace: '    says !== undefined\n',
    killer: { kind: 'test', file: 'router/keeper-says.test.ts' },
  },
  {
    name: 'a lone primary is believed',
    mistake: 'A strong read of a primary without a standby is shown without a proof.',
    file: DATABASE,
    find: "    if (!isAlone(says, node, timeline)) throw new NotConfirmed('the keeper says something else');\n",
    replace: '',
    killer: {
      kind: 'test',
      file: FAILOVER,
      test: 'came afterwards|proves nothing where the record names',
    },
  },
  {
    name: 'alone is not said',
    mistake: 'An answer says that its write is on a standby where there is none.',
    file: DATABASE,
    find: "const isReplicated = synchronous && entry.kind === 'inside' && entry.synchronous;",
    replace: "const isReplicated = synchronous || entry.kind === 'inside';",
    killer: { kind: 'test', file: FAILOVER, test: 'came afterwards|says so in answers' },
  },
  {
    name: 'a write passes the gate',
    mistake: 'Writes begin while somebody is replacing the primary.',
    file: 'regions/schema/0007-gate.sql',
    find: '  perform pg_advisory_xact_lock_shared(7237953633302080613);\n',
    replace: '',
    killer: { kind: 'test', file: SWITCHOVER, test: 'while the gate is shut' },
  },
  {
    name: 'a gate stays shut',
    mistake: 'Whoever shuts the gate and dies leaves the region without writes.',
    file: 'regions/schema/0007-gate.sql',
    find: 'where shut_on = p_timeline and shut_until > clock_timestamp()',
    replace: 'where shut_on = p_timeline',
    killer: { kind: 'test', file: SWITCHOVER, test: 'a gate that nobody opens' },
  },
  {
    name: 'proofs stand at the gate',
    mistake: 'Nobody can read strongly while the gate is shut.',
    file: DATABASE,
    find: 'domicile.beside_gate(',
    replace: 'domicile.on_timeline(',
    killer: { kind: 'test', file: SWITCHOVER, test: 'while the gate is shut' },
  },
  {
    name: 'a write that was not let in is over',
    mistake: 'A write that met a shut gate, or a primary that had gone, is refused with time left.',
    file: DATABASE,
    find: "beginsAgain(failure) || (failure.kind === 'pool-full' && quest.hasWaited);",
    replace: "failure.kind === 'pool-full' && quest.hasWaited;",
    killer: { kind: 'test', file: SWITCHOVER, test: 'while the gate is shut' },
  },
  {
    name: 'a rule that keeps nobody',
    mistake: 'Somebody who cannot be created is told of the rule for those who exist.',
    file: 'policies/why-nowhere-else.ts',
    find: "  if (placing >= 0) return ['placement', placing];\n",
    replace: '',
    killer: { kind: 'test', file: 'policies/why-nowhere-else.test.ts' },
  },
  {
    name: 'any site is as good',
    mistake: 'A keeper moves the primary to another site without an order.',
    file: DECIDE,
    find: "betweenSites === 'automatic' || sites.get",
    replace: 'betweenSites !== undefined || sites.get',
    killer: { kind: 'test', file: MODEL },
  },
  {
    name: 'whoever is silent has nothing',
    mistake: 'One of several standbys is promoted while another one may have more.',
    file: DECIDE,
    find: '(!isAccepted && missing.length > 0)',
    replace: '(isAccepted && missing.length > 0)',
    killer: { kind: 'test', file: MODEL },
  },
  {
    name: 'a move is called off by nobody',
    mistake: 'A keeper waits for ever for a move whose keeper has ended.',
    file: DECIDE,
    find: "record.pending?.kind === 'move' && !outlook.isMoving",
    replace: "record.pending?.kind === 'move' && outlook.hasStalled",
    killer: { kind: 'test', file: MODEL },
  },
  {
    name: 'the word of another server',
    mistake: 'A standby that hears the primary before this one keeps a dead primary alive.',
    file: 'policies/keeper/judge-primary.ts',
    find: '      standby.timeline === timeline &&\n      !isFedByOther(node),\n',
    replace: '      isFedByOther !== undefined,\n',
    killer: { kind: 'test', file: MODEL },
  },
  {
    name: 'the new site has everything',
    mistake: 'A lost site is replaced as if whoever is silent had nothing more.',
    file: 'policies/keeper/plan-relocation.ts',
    find: 'standbys.length > 0 && named.missing.length === 0',
    replace: 'standbys.length > 0',
    killer: { kind: 'test', file: 'policies/keeper/plan-relocation.test.ts' },
  },
  {
    name: 'a site that nobody has allowed',
    mistake: 'A node holds the data of its region at a site that the policy does not list.',
    file: 'policies/check-policy.ts',
    find: 'if (list.includes(site)) continue;',
    replace: 'if (list.length > 0) continue;',
    killer: { kind: 'test', file: 'policies/read-policy.test.ts', test: 'has to list both' },
  },
  {
    name: 'lost one after the other',
    mistake: 'Commits wait for a second standby that is lost as well.',
    file: DECIDE,
    find: "  if (left.length === 0) return change({ standbys: [], event: { kind: 'alone', because } });\n  // Without",
    replace: '  // Without',
    killer: { kind: 'test', file: MODES, test: 'goes on alone and says so' },
  },
];
