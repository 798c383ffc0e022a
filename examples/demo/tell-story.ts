/**
 * How is a story told to a running world, and did it go as claimed?
 *
 * Asks what the steps ask, prints what went out and what came back with the fields in which an edge
 * explains itself, and counts the steps that were as claimed. A step that was not does not end the
 * story: the ones after it tell more about what is wrong.
 */
import type { Answer, Ask, Step, Story } from './step.ts';
import { differences } from './step.ts';

export type Colour = 'green' | 'red' | 'cyan' | 'dim' | 'bold';

export type Stage = {
  /** The address of the edge of a region. */
  edgeOf: (region: string) => string;
  kill: (edge: string) => Promise<void>;
  start: (edge: string) => Promise<void>;
  print: (line: string) => void;
  paint: (colour: Colour, text: string) => string;
  columns: number;
  /** Monotonic milliseconds. */
  now: () => number;
  pause: (ms: number) => Promise<unknown>;
  ending: AbortSignal;
};

export type Told = { asClaimed: number; steps: number };

/** For `eventually`: a mirror or a replica that needs longer is broken, and not behind. */
const EVENTUALLY_MS = 10_000;
const ASK_AGAIN_EVERY_MS = 25;
/** Longer than any edge takes to refuse. */
const ANSWER_MS_MAX = 10_000;
const TEXT_COLUMN = 5;
const LABEL_WIDTH = 6;

/** The fields that are shown, in this order. */
const SHOWN = [
  'Domicile-Served-By',
  'Domicile-Home',
  'Domicile-Staleness-Ms',
  'Domicile-Decision',
] as const;

export async function tellStory(story: Story, stage: Stage): Promise<Told> {
  const sessions = new Map<string, string>();
  let asClaimed = 0;
  for (const [index, step] of story.entries()) {
    stage.ending.throwIfAborted();
    stage.print('');
    const number = String(index + 1).padStart(2);
    wrapped(step.claim, stage.columns - TEXT_COLUMN).forEach((line, i) => {
      stage.print(`${i === 0 ? number : '  '}   ${stage.paint('bold', line)}`);
    });
    const wrong = await tellStep(step, sessions, stage);
    if (wrong.length === 0) {
      asClaimed++;
      stage.print(`${' '.repeat(TEXT_COLUMN)}${stage.paint('green', '✓ as claimed')}`);
    }
    for (const one of wrong) {
      for (const line of wrapped(`✗ ${one}`, stage.columns - TEXT_COLUMN)) {
        stage.print(`${' '.repeat(TEXT_COLUMN)}${stage.paint('red', line)}`);
      }
    }
  }
  return { asClaimed, steps: story.length };
}

async function tellStep(
  { first, asks, together, between }: Step,
  sessions: Map<string, string>,
  stage: Stage,
): Promise<string[]> {
  if (first !== undefined) {
    const [verb, edge] = 'kill' in first ? ['kill', first.kill] : ['start', first.start];
    stage.print(`${' '.repeat(TEXT_COLUMN)}${stage.paint('cyan', `! ${verb} ${edge}`)}`);
    await ('kill' in first ? stage.kill(edge) : stage.start(edge));
  }
  const heard: Heard[] = [];
  if (together === true) {
    heard.push(...(await Promise.all(asks.map((ask) => hear(ask, sessions, stage)))));
    asks.forEach((ask, i) => {
      show(ask, heard[i], stage);
    });
  } else {
    for (const ask of asks) {
      const one = await hear(ask, sessions, stage);
      show(ask, one, stage);
      heard.push(one);
    }
  }
  const answers = heard.flatMap(({ answer }) => (answer === undefined ? [] : [answer]));
  return [...heard.flatMap(({ wrong }) => wrong), ...(between?.(answers) ?? [])];
}

type Heard = { answer: Answer | undefined; asked: number; wrong: string[] };

/** Asks once, or until `eventually` holds; every answer on the way has to be as expected. */
async function hear(ask: Ask, sessions: Map<string, string>, stage: Stage): Promise<Heard> {
  const deadlineMs = stage.now() + EVENTUALLY_MS;
  for (let asked = 1; ; asked++) {
    let answer: Answer;
    try {
      answer = await send(ask, sessions, stage);
    } catch (error) {
      stage.ending.throwIfAborted();
      const { message, cause } = error as Error;
      const why = cause instanceof Error ? `${message}: ${cause.message}` : message;
      return { answer: undefined, asked, wrong: [`${ask.at} gave no answer (${why})`] };
    }
    const wrong = differences(ask.expect ?? {}, answer);
    const missing = differences(ask.eventually ?? {}, answer);
    if (wrong.length > 0 || missing.length === 0) return { answer, asked, wrong };
    if (stage.now() > deadlineMs) {
      return { answer, asked, wrong: missing.map((one) => `${one}, after ${EVENTUALLY_MS} ms`) };
    }
    await stage.pause(ASK_AGAIN_EVERY_MS);
  }
}

async function send(ask: Ask, sessions: Map<string, string>, stage: Stage): Promise<Answer> {
  const { at, as, forged, method = 'GET', path, body } = ask;
  const session = as === undefined ? undefined : sessions.get(as);
  const sentAtMs = stage.now();
  const response = await fetch(stage.edgeOf(at) + path, {
    method,
    headers: {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(session !== undefined && {
        'domicile-session': forged === true ? tampered(session) : session,
      }),
    },
    body: body === undefined ? null : JSON.stringify(body),
    signal: AbortSignal.any([stage.ending, AbortSignal.timeout(ANSWER_MS_MAX)]),
  });
  const text = await response.text();
  const tookMs = stage.now() - sentAtMs;
  const { status, headers } = response;
  const token = headers.get('domicile-session');
  if (as !== undefined && token !== null) sessions.set(as, token);
  const json = headers.get('content-type')?.includes('json') === true;
  return { status, headers, body: json ? JSON.parse(text) : text, tookMs };
}

/** In the middle, where the character belongs to the signed content. */
function tampered(token: string): string {
  const at = Math.floor(token.length / 2);
  return token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
}

function show(ask: Ask, heard: Heard | undefined, { print, paint, columns }: Stage): void {
  const { at, as, forged, method = 'GET', path, body } = ask;
  const line = (label: string, text: string, colour?: Colour) => {
    const shown = cut(text, columns - TEXT_COLUMN - LABEL_WIDTH);
    print(
      `${' '.repeat(TEXT_COLUMN)}${label.padEnd(LABEL_WIDTH)}${colour === undefined ? shown : paint(colour, shown)}`,
    );
  };
  const who = as === undefined ? '' : `, ${forged === true ? 'a forged' : 'the'} session of ${as}`;
  line('>', `${method} ${path}   at ${at}${who}`, 'cyan');
  if (body !== undefined) line('', JSON.stringify(body), 'dim');
  if (heard?.answer === undefined) return;
  const { answer, asked } = heard;
  const fields = SHOWN.flatMap((name) => {
    const value = answer.headers.get(name);
    return value === null ? [] : [`${name}: ${value}`];
  });
  const times = asked === 1 ? '' : `, answer ${asked} of ${asked}`;
  line(`< ${answer.status}`, `in ${Math.ceil(answer.tookMs)} ms${times}`);
  for (const group of packed(fields, columns - TEXT_COLUMN - LABEL_WIDTH)) line('', group);
  const { type, detail, retry } = (answer.body ?? {}) as Record<string, unknown>;
  if (typeof type === 'string' && typeof detail === 'string') {
    line('', `${type}   retry: ${retry}`);
    for (const words of wrapped(detail, columns - TEXT_COLUMN - LABEL_WIDTH))
      line('', words, 'dim');
  } else if (answer.body !== '') line('', JSON.stringify(answer.body), 'dim');
}

/** As many fields on a line as it holds. */
function packed(fields: readonly string[], width: number): string[] {
  const lines: string[] = [];
  for (const field of fields) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 3 + field.length <= width) {
      lines[lines.length - 1] = `${last}   ${field}`;
    } else lines.push(field);
  }
  return lines;
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines;
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}
