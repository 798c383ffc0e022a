/**
 * Does docs/problems.md say of every failure what the router says?
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type Failure, problem } from '../router/problem.ts';
import { SAMPLES } from './problem-samples-for-tests.ts';

const page = readFileSync(new URL('problems.md', import.meta.url), 'utf8');
const source = readFileSync(new URL('../router/problem.ts', import.meta.url), 'utf8');

type Section = { kind: string; text: string };
const sections: Section[] = page
  .split(/^## /m)
  .slice(1)
  .map((text) => ({ kind: text.slice(0, text.indexOf('\n')), text }));

const union = /export type Failure =([\s\S]*?);\n\n/.exec(source)?.[1] ?? '';
const kinds = [...union.matchAll(/\{ kind: '([a-z-]+)'/g)].map(([, kind = '']) => kind);

test('every kind of failure has a heading, and every heading is a kind, in one order', () => {
  expect(kinds.length).toBeGreaterThan(20);
  expect(sections.map(({ kind }) => kind)).toEqual(kinds);
});

describe.each(sections)('$kind', ({ kind, text }) => {
  const failure = SAMPLES[kind as Failure['kind']];
  test('is shown with its own answer, status and retry', async () => {
    const answer = problem(failure);
    const body = (await answer.json()) as { status: number; retry: string };
    expect(text).toContain(`\nStatus ${body.status}. Retry: \`${body.retry}\`.\n`);
    expect(answer.status).toBe(body.status);
    const shown = /^```json\n([\s\S]*?)^```/m.exec(text)?.[1];
    expect(JSON.parse(shown ?? '')).toEqual(body);
  });

  test('says what to do', () => {
    expect(text).toMatch(/\*\*What to do:\*\* \S/);
  });
});
