/**
 * When is a step of a story as it was claimed?
 *
 * The shapes that a story is written in, and the comparison of an answer with what was expected.
 * Asking and printing are left to `tell-story.ts`.
 */
export type Story = readonly Step[];

export type Step = {
  claim: string;
  /** What is done to the world before anything is asked. */
  first?: { kill: string } | { start: string };
  asks: readonly Ask[];
  /** All of them at once instead of one after the other. */
  together?: boolean;
  /** What is wrong with the answers taken together; nothing when they are as claimed. */
  between?: (answers: readonly Answer[]) => readonly string[];
};

export type Ask = {
  /** The region whose edge is asked. */
  at: string;
  /** Whose session is sent and kept; left out by somebody without one. */
  as?: string;
  /** Sends that session with one character changed. */
  forged?: boolean;
  method?: 'GET' | 'POST' | 'PATCH' | 'PUT';
  path: string;
  body?: unknown;
  /** Holds for every answer, the first one included. */
  expect?: Expectation;
  /** Is asked again until this holds as well; only for reads. */
  eventually?: Expectation;
};

export type Expectation = {
  status?: number;
  /** A text is the whole value. */
  headers?: Readonly<Record<string, string | RegExp>>;
  /** The kind of an RFC 9457 problem: what follows the # in its type. */
  problem?: string;
  /** Whatever is named here is in the body; lists have the same length. */
  body?: unknown;
  withinMs?: number;
};

export type Answer = { status: number; headers: Headers; body: unknown; tookMs: number };

/** What differs from the expectation, in words; nothing when it is met. */
export function differences(expected: Expectation, answer: Answer): string[] {
  const found: string[] = [];
  const { status, headers = {}, problem, body, withinMs } = expected;
  if (status !== undefined && answer.status !== status) {
    found.push(`status is ${answer.status}, not ${status}`);
  }
  for (const [name, wanted] of Object.entries(headers)) {
    const value = answer.headers.get(name);
    const met =
      value !== null && (typeof wanted === 'string' ? value === wanted : wanted.test(value));
    if (!met) found.push(`${name} is ${value === null ? 'missing' : value}, not ${wanted}`);
  }
  if (problem !== undefined) {
    const type = (answer.body as { type?: unknown } | null)?.type;
    if (typeof type !== 'string' || !type.endsWith(`#${problem}`)) {
      found.push(`the problem is ${type ?? 'none'}, not ${problem}`);
    }
  }
  if (body !== undefined) found.push(...bodyDifferences('body', body, answer.body));
  if (withinMs !== undefined && answer.tookMs > withinMs) {
    found.push(`it took ${Math.round(answer.tookMs)} ms, more than ${withinMs}`);
  }
  return found;
}

function bodyDifferences(path: string, wanted: unknown, got: unknown): string[] {
  if (Array.isArray(wanted)) {
    if (!Array.isArray(got) || got.length !== wanted.length) {
      const length = Array.isArray(got) ? `${got.length} long` : 'no list';
      return [`${path} is ${length}, not ${wanted.length} long`];
    }
    return wanted.flatMap((one, i) => bodyDifferences(`${path}[${i}]`, one, got[i]));
  }
  if (typeof wanted === 'object' && wanted !== null) {
    if (typeof got !== 'object' || got === null) return [`${path} is no object`];
    return Object.entries(wanted).flatMap(([name, one]) =>
      bodyDifferences(`${path}.${name}`, one, (got as Record<string, unknown>)[name]),
    );
  }
  if (wanted === got) return [];
  return [`${path} is ${JSON.stringify(got) ?? 'missing'}, not ${JSON.stringify(wanted)}`];
}
