/**
 * How does a test tell a running world what an operator would, many times over?
 *
 * The commands' own functions, in the process of the test: starting a process and loading what it
 * needs costs the machine more than a command has to do. That they are wired to the command line
 * is shown by the tests that run it.
 */
import {
  type RefillOptions,
  refillCommand,
  statusCommand as statusOfMirrors,
} from './mirrors-command.ts';
import {
  type ApplyCommandOptions,
  applyCommand,
  type PlanCommandOptions,
  planCommand,
} from './plan-command.ts';
import type { Answer } from './policy-command.ts';
import { schemaApplyCommand, schemaPlanCommand } from './schema-command.ts';

// biome-ignore lint/suspicious/noExplicitAny: each test knows what it asked for.
export type Reply = { status: number } & Record<string, any>;

export type OperatorForTests = {
  plan(policy: string, more?: Pick<PlanCommandOptions, 'out'>): Promise<Reply>;
  apply(policy: string, more?: Pick<ApplyCommandOptions, 'plan'>): Promise<Reply>;
  schemaPlan(policy: string): Promise<Reply>;
  schemaApply(policy: string): Promise<Reply>;
  mirrors(): Promise<Reply>;
  refill(which: Pick<RefillOptions, 'from' | 'to' | 'airlock'>): Promise<Reply>;
};

export function operatorForTests(root: string): OperatorForTests {
  const asked = () => ({ root, today: new Date().toISOString().slice(0, 10) });
  const asking = () => ({
    ...asked(),
    by: 'tess',
    print: () => {},
    signal: new AbortController().signal,
  });
  return {
    plan: async (policy, more) => reply(await planCommand({ ...asked(), policy, ...more })),
    apply: async (policy, more) => reply(await applyCommand({ ...asking(), policy, ...more })),
    schemaPlan: async (policy) => reply(await schemaPlanCommand({ ...asked(), policy })),
    schemaApply: async (policy) => reply(await schemaApplyCommand({ ...asking(), policy })),
    mirrors: async () => reply(await statusOfMirrors({ root })),
    refill: async (which) => reply(await refillCommand({ ...asking(), ...which })),
  };
}

/** As `--json` prints it. */
function reply({ json, exitCode }: Answer): Reply {
  return { status: exitCode, ...JSON.parse(JSON.stringify(json)) };
}
