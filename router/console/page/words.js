/**
 * How is it said to a person?
 *
 * Figures with their units, and words for what the router decides and why. What has no words here is
 * shown as it came.
 */

/** @typedef {import('../console-state.ts').NodeView} NodeView */
/** @typedef {import('../../telemetry/telemetry.ts').Attributes} Attributes */

/** @param {number} value */
function short(value) {
  const digits = value >= 10 ? 0 : value >= 1 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}

/** @param {number | null | undefined} value */
export function ms(value) {
  if (value === null || value === undefined) return '–';
  if (value < 1_000) return `${short(value)} ms`;
  if (value < 60_000) return `${short(value / 1_000)} s`;
  return longTime(value);
}

/**
 * Minutes and more, in two units at most.
 * @param {number} value
 */
export function longTime(value) {
  const seconds = Math.max(0, Math.round(value / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** @param {number | null | undefined} value */
export function bytes(value) {
  if (value === null || value === undefined) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let left = value;
  let unit = 0;
  while (left >= 1_000 && unit < units.length - 1) {
    left /= 1_000;
    unit += 1;
  }
  return `${unit === 0 ? left : short(left)} ${units[unit]}`;
}

/** @param {number} count */
export function many(count) {
  return count.toLocaleString('en').replaceAll(',', '\u202f');
}

/**
 * @param {number} count
 * @param {string} one
 * @param {string} several
 */
export function counted(count, one, several = `${one}s`) {
  return `${many(count)} ${count === 1 ? one : several}`;
}

/** @param {number} atMs */
export function clock(atMs) {
  return new Date(atMs).toLocaleTimeString('en-GB');
}

/** @param {number} atMs */
export function dayAndClock(atMs) {
  const at = new Date(atMs);
  return `${at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })}, ${clock(atMs)}`;
}

/** @param {readonly string[]} words */
export function list(words) {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

/** @type {Readonly<Record<string, string>>} */
const HEALTH = {
  serves: 'serves',
  lags: 'lags behind',
  silent: 'does not answer',
  unknown: 'was never seen',
};

/** @type {Readonly<Record<string, string>>} */
export const ROLES = {
  primary: 'primary',
  replica: 'replica',
  replaced: 'was replaced',
  unknown: '–',
};

/**
 * How a node is, in words that do not call well what nothing is sent to.
 * @param {NodeView} node
 */
export function nodeHealth({ role, health }) {
  if (health === 'silent' || health === 'unknown') return HEALTH[health];
  if (role === 'replaced') return 'answers, and nothing is sent to it since another one is primary';
  return role === 'unknown' ? 'answers, and what it is nobody knows' : HEALTH[health];
}

/** @type {Readonly<Record<string, string>>} */
export const DECISIONS = {
  serve: 'served here',
  forward: 'forwarded',
  redirect: 'redirected',
  refuse: 'refused',
  answer: 'needed no data',
};

/** @type {Readonly<Record<string, string>>} */
export const RUNGS = {
  replica: 'replica',
  replica_after_wait: 'replica, after a wait',
  primary: 'primary',
  mirror: 'mirror',
};

/** @type {Readonly<Record<string, string>>} */
const OBJECTIONS = {
  behind: 'had not replayed what the session has seen',
  older_timeline: 'is on an older timeline than the session has seen',
  history_unknown: 'is on a timeline whose history is not known',
  lost: 'does not have what the session has seen, and never will',
  other_cluster: 'is another cluster than the session has seen',
  never_seen: 'was never seen',
  seen_too_long_ago: 'has not been seen lately',
  lagging: 'has not kept up lately',
  too_stale: 'is older than was asked for',
  unreachable: 'could not be reached',
  not_the_primary: 'is not the primary',
  older_primary: 'is a primary that was replaced',
  has_no_room: 'has no room for another read',
  not_confirmed: 'could not prove that it is the primary',
  not_the_home: 'is a copy, and the home was asked for',
  seen_elsewhere: 'is a copy, and the session has read another one',
};

/**
 * The titles of docs/problems.md.
 * @type {Readonly<Record<string, string>>}
 */
const REFUSALS = {
  'not-found': 'No such route',
  'nothing-here': 'Nothing is stored here',
  'method-not-allowed': 'The route does not take this method',
  'malformed-json': 'The body is not JSON',
  'invalid-request': 'The request does not have the expected shape',
  'body-too-large': 'The body is too large',
  'idempotency-key-malformed': 'The idempotency key is not one',
  'idempotency-key-reused': 'The idempotency key belongs to another request',
  'idempotency-key-in-flight': 'A request with this idempotency key is under way',
  'answer-too-large': 'The answer is too large to be kept',
  'precondition-failed': 'It is not the version that was asked for',
  'precondition-required': 'The request must say which version it changes',
  'unknown-country': 'No such country',
  'placement-refused': 'The policy gives this subject no home',
  'home-not-yours-to-choose': 'The policy, not the caller, chooses the home',
  'unknown-subject': 'No such subject',
  'subject-exists': 'The subject exists already',
  'session-token-malformed': 'The session token is not one',
  'session-token-forged': 'The session token was not issued here',
  'session-token-foreign': 'The session token is of another subject',
  'session-tokens-of-two-subjects': 'The session tokens are of two subjects',
  'session-tokens-too-many': 'Too many session tokens came with the request',
  'session-floor-unmet': 'No copy here has what this session has seen',
  'session-guarantee-lost': 'Something this session has seen is gone',
  'session-of-other-cluster': 'The session is of another database cluster',
  'session-position-unknown': 'The session has seen more than there is',
  'staleness-unmet': 'No copy is as fresh as was asked for',
  'primary-unconfirmed': 'The primary could not prove that it is one',
  'strong-unprovable': 'This region cannot prove a strong read now',
  'unknown-consistency': 'Domicile-Consistency asks for no known level',
  'residency-unavailable': 'The only region where this data may be does not answer',
  'home-unknown': 'The home of this subject could not be found out',
  'claim-undecided': 'The id could not be claimed',
  'region-unavailable': 'The home region has no node that can serve this',
  'write-outcome-unknown': 'The write may have happened',
  'write-not-applied': 'The write did not happen',
  'deadline-exceeded': 'The read took too long',
  overloaded: 'Too many requests wait already',
  conflict: 'The write conflicts with what is stored',
  'constraint-violated': 'The values break a rule of the schema',
  'hop-refused': 'The hop between edges is not genuine',
  'policy-version-differs': 'The two regions have different policy versions in force',
  misdirected: 'This region is not the home',
  'home-elsewhere': 'This request must go to the home itself',
  'transit-refused': 'This request came through another region, which the policy forbids',
  'body-before-home': 'The app reads the body before the home is known',
  'read-only-route': 'The handler tried to write in a read route',
  'not-permitted': 'The handler reached for rows that it may not touch',
  'undeclared-in-policy': 'The policy does not declare this',
  internal: 'The app failed',
  'console-unauthenticated': 'Nothing here is for everybody',
  'console-attempts-limited': 'Too many wrong tokens came from this address',
  'console-cross-origin': 'The request does not come from the page of this console',
  'console-forbidden': 'Only operators may do this',
  'console-nothing-here': 'The console has nothing here',
  'console-streams-full': 'Too many watch this console',
  'console-sign-in-failed': 'Signing in did not come about',
};

/** What the system could not do; all else a client asked for in vain, and nothing is wrong here. */
const OF_THE_SYSTEM = new Set([
  ...['session-floor-unmet', 'session-guarantee-lost', 'staleness-unmet', 'primary-unconfirmed'],
  ...['strong-unprovable', 'residency-unavailable', 'home-unknown', 'claim-undecided'],
  ...['region-unavailable', 'write-outcome-unknown', 'write-not-applied', 'deadline-exceeded'],
  ...['overloaded', 'hop-refused', 'policy-version-differs', 'internal'],
]);

/** @param {string} because */
export function isOfTheSystem(because) {
  return OF_THE_SYSTEM.has(because);
}

/** @param {string} because */
export function refusal(because) {
  return REFUSALS[because] ?? because;
}

/** @param {{ node: string, because: string }} passed */
export function passedOver({ node, because }) {
  return `${node} ${OBJECTIONS[because] ?? because.replaceAll('_', ' ')}`;
}

/**
 * `eu-b:behind`, as traces have it.
 * @param {string} told
 */
function toldPassedOver(told) {
  const cut = told.lastIndexOf(':');
  return passedOver({ node: told.slice(0, cut), because: told.slice(cut + 1) });
}

/** @type {Readonly<Record<string, string>>} */
const WHY_RUNG = {
  replica: 'a replica that had all that this session has seen',
  replica_after_wait: 'a replica, after waiting for it to replay what this session has seen',
  primary: 'the primary',
  mirror: 'a copy that the policy allows in this region',
};

/**
 * The decision of one edge in a few sentences, from the attributes of its span.
 * @param {Attributes} told
 * @param {string} region
 * @returns {string[]}
 */
export function explained(told, region) {
  const text = (/** @type {string} */ name) => {
    const value = told[`domicile.${name}`];
    return value === undefined ? undefined : String(value);
  };
  const home = text('home');
  const rung = text('rung') ?? '';
  const passed = told['domicile.passed_over'];
  const rule = text('placement.rule');
  const sentences = [];
  switch (text('decision')) {
    case 'serve':
      sentences.push(`Served in ${region} by ${text('node')}: ${WHY_RUNG[rung] ?? rung}.`);
      break;
    case 'forward':
      sentences.push(
        `Sent on from ${region} to ${text('to')}${home === undefined ? '' : ', where the data is at home'}.`,
      );
      break;
    case 'redirect':
      sentences.push(
        `The client was sent to ${text('to')}: nothing of it may pass through ${region}.`,
      );
      break;
    case 'refuse':
      sentences.push(`Refused in ${region}: ${refusal(text('refusal') ?? '')}.`);
      break;
    case 'answer':
      sentences.push(`Answered in ${region}; no data was needed.`);
      break;
    default:
  }
  if (rule !== undefined)
    sentences.push(`Rule “${rule}” of the policy placed the newcomer in ${home}.`);
  if (Array.isArray(passed) && passed.length > 0)
    sentences.push(`Passed over: ${passed.map(toldPassedOver).join('; ')}.`);
  const again = text('decided_anew');
  if (again !== undefined) sentences.push(`It was decided anew: ${again.replaceAll('_', ' ')}.`);
  return sentences;
}

/** @param {NodeView} node */
export function lag({ role, lagBytes, ageMs }) {
  if (role !== 'replica') return '–';
  const parts = [];
  if (ageMs !== null) parts.push(ms(ageMs));
  if (lagBytes !== null) parts.push(bytes(lagBytes));
  return parts.length === 0 ? 'not known' : parts.join(', ');
}
