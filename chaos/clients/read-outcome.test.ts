import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Exchange } from './ask-edge.ts';
import { MAY_BE_DONE, NOTHING_DONE, readOutcome } from './read-outcome.ts';

const PAGE = readFileSync(new URL('../../docs/problems.md', import.meta.url), 'utf8');
/** Each kind that an app's client may hear, with the retry that its page names. */
const documented = new Map(
  PAGE.split(/\n## /)
    .slice(1)
    .map((section): [string, string] => [
      section.split('\n', 1)[0] ?? '',
      /Retry: `([a-z-]+)`/.exec(section)?.[1] ?? '',
    ])
    .filter(([kind]) => !kind.startsWith('console-')),
);

function problem(kind: string, retry: string, status = 503): Exchange {
  return {
    kind: 'answered',
    status,
    headers: { 'content-type': 'application/problem+json' },
    text: JSON.stringify({ type: `/docs/problems.md#${kind}`, status, retry }),
  };
}

function answered(status: number, text: string, type = 'application/json'): Exchange {
  return { kind: 'answered', status, headers: { 'content-type': type }, text };
}

describe('the pages of problems', () => {
  test('promise that nothing was done for exactly the kinds that count as failed', () => {
    const promising = [...documented].filter(([, retry]) => retry !== 'same-key-only');
    expect(promising.length).toBeGreaterThan(40);
    expect([...NOTHING_DONE, ...MAY_BE_DONE].toSorted()).toEqual(
      promising.map(([kind]) => kind).toSorted(),
    );
  });

  test.each([...documented])('%s (%s) is failed or unknown as its page says', (kind, retry) => {
    const outcome = readOutcome(problem(kind, retry));
    const isFailed = retry !== 'same-key-only' && !MAY_BE_DONE.has(kind);
    expect(outcome).toMatchObject({ kind: isFailed ? 'fail' : 'unknown', because: kind });
  });
});

describe('an outcome', () => {
  test('is ok for every 2xx with a JSON object', () => {
    expect(readOutcome(answered(200, '{"value":3}'))).toEqual({ kind: 'ok', body: { value: 3 } });
    expect(readOutcome(answered(201, '{}'))).toEqual({ kind: 'ok', body: {} });
  });

  test('is unknown where the answer is acknowledged and unreadable', () => {
    for (const text of ['', '{"val', '3', 'null']) {
      expect(readOutcome(answered(200, text)).kind, text).toBe('unknown');
    }
  });

  test('is unknown where something else than an edge answers', () => {
    for (const status of [301, 400, 408, 500, 502, 504]) {
      expect(readOutcome(answered(status, '<h1>Bad gateway</h1>', 'text/html')).kind).toBe(
        'unknown',
      );
      // JSON alone is no problem document.
      const json = '{"type":"/docs/problems.md#overloaded","retry":"safe"}';
      expect(readOutcome(answered(status, json)).kind).toBe('unknown');
    }
    expect(readOutcome(answered(503, 'cut of', 'application/problem+json')).kind).toBe('unknown');
  });

  test('is unknown for a kind that no page knows, whatever it says of a retry', () => {
    expect(readOutcome(problem('brand-new', 'safe')).kind).toBe('unknown');
  });

  test('is unknown where the answer contradicts its page', () => {
    expect(readOutcome(problem('overloaded', 'same-key-only')).kind).toBe('unknown');
  });

  test('is failed without an answer only when nothing can have been sent', () => {
    const unanswered = (sent: boolean): Exchange => ({
      kind: 'unanswered',
      sent,
      why: 'ECONNRESET',
    });
    expect(readOutcome(unanswered(true))).toEqual({ kind: 'unknown', because: 'ECONNRESET' });
    expect(readOutcome(unanswered(false))).toMatchObject({ kind: 'fail', again: true });
  });

  test('may be tried again under its key where a retry is safe, or the session begins anew', () => {
    const again = (kind: string, retry: string) => {
      const outcome = readOutcome(problem(kind, retry));
      return outcome.kind === 'fail' && outcome.again;
    };
    expect(again('write-not-applied', 'safe')).toBe(true);
    expect(again('session-guarantee-lost', 'after-change')).toBe(true);
    expect(again('unknown-subject', 'after-change')).toBe(false);
    expect(again('session-token-forged', 'after-change')).toBe(false);
  });
});
