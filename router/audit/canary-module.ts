/**
 * How does an app say where a canary goes?
 *
 * Only the app knows which request stores what in which column. Its `canary.ts`, beside the app
 * module, exports one function that answers for one new subject.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { CanaryColumn } from '../../policies/may-hold.ts';
import type { Attributes } from '../../policies/placement.ts';
import { nameBeside } from '../../regions/own-module.ts';

export type CanaryQuestion = {
  /** Facts by which the policy places the subject where the audit wants it. */
  facts: Attributes;
  /** A text that occurs nowhere else: small letters and digits, 24 of them, beginning `canary`. */
  draw: () => string;
};

export type CanaryAnswer = {
  /** The subject's id, which begins with a drawn text, so that what stays behind is known for it. */
  subject: string;
  /** Sent one after the other to an edge of the subject's home. */
  requests: readonly { method: string; path: string; body?: unknown }[];
  /** Each drawn text, and the columns that hold it when all requests have succeeded. */
  canaries: readonly { text: string; columns: readonly CanaryColumn[] }[];
};

export type CanaryModule = (question: CanaryQuestion) => CanaryAnswer;

export type CanaryModuleReading = { module: CanaryModule } | { because: string };

export async function loadCanaryModule(app: string): Promise<CanaryModuleReading> {
  const path = join(dirname(app), nameBeside(app, 'canary'));
  if (!existsSync(path)) {
    return { because: `${path} is missing, which says where the app stores a canary` };
  }
  const loaded = (await import(pathToFileURL(path).href)) as { default?: unknown };
  if (typeof loaded.default !== 'function') {
    return { because: `${path} must export a function as its default` };
  }
  return { module: loaded.default as CanaryModule };
}
