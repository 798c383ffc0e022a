/**
 * How fresh must the answer to this request be?
 *
 * Four levels, asked for by the `Domicile-Consistency` field, else by the route, else by the policy.
 * Its syntax is an item of RFC 9651 structured fields: a word, and for `bounded` one parameter.
 */

export type Level =
  /** Nothing older than the session has seen. */
  | { kind: 'session' }
  /** Linearizable for one subject. */
  | { kind: 'strong' }
  /** Nothing older than so many milliseconds. */
  | { kind: 'bounded'; maxStalenessMs: number }
  /** The nearest allowed copy, however old. */
  | { kind: 'eventual' };

export const SESSION: Level = { kind: 'session' };
const STRONG: Level = { kind: 'strong' };
export const EVENTUAL: Level = { kind: 'eventual' };

/** What may be asked for, as the complaint about anything else lists it. */
export const LEVELS = 'session, strong, bounded; max-staleness=<duration>, eventual';

/** An hour: whoever accepts more wants `eventual`. */
export const MAX_STALENESS_MS_MAX = 3_600_000;

export type LevelReading = { kind: 'level'; level: Level } | { kind: 'complaint'; why: string };

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000 } as const;
const DURATION = /^(\d{1,7})(ms|s|m)$/;

/** Levels are few, and requests that carry one are many. */
const COMMON = new Map<string, Level>([
  ['session', SESSION],
  ['strong', STRONG],
  ['eventual', EVENTUAL],
]);

export function readLevel(text: string): LevelReading {
  const common = COMMON.get(text);
  if (common !== undefined) return { kind: 'level', level: common };
  if (text.includes(',')) return complaint('One level at a time');
  const [word = '', ...parameters] = text.split(';').map((part) => part.trim());
  const plain = COMMON.get(word);
  if (plain === undefined && word !== 'bounded') {
    // What was sent is not repeated: it may be anything.
    return complaint('There is no such level');
  }
  if (plain !== undefined) {
    return parameters.length === 0
      ? { kind: 'level', level: plain }
      : complaint(`"${word}" takes no parameter`);
  }
  const [parameter, ...more] = parameters;
  if (parameter === undefined) return complaint('"bounded" needs max-staleness, such as 2s');
  if (more.length > 0) return complaint('"bounded" takes one parameter');
  const [name, value, ...rest] = parameter.split('=').map((part) => part.trim());
  if (name !== 'max-staleness' || value === undefined || rest.length > 0) {
    return complaint('"bounded" takes max-staleness and nothing else');
  }
  const maxStalenessMs = durationMs(value);
  if (maxStalenessMs === undefined || maxStalenessMs > MAX_STALENESS_MS_MAX) {
    return complaint('max-staleness is a number with ms, s or m, from 0ms to 60m');
  }
  return { kind: 'level', level: { kind: 'bounded', maxStalenessMs } };
}

/** As it is written in the field and in a policy. */
export function levelText(level: Level): string {
  return level.kind === 'bounded' ? `bounded; max-staleness=${level.maxStalenessMs}ms` : level.kind;
}

function durationMs(text: string): number | undefined {
  const match = DURATION.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS];
}

function complaint(why: string): LevelReading {
  return { kind: 'complaint', why };
}
