/**
 * How is the real Terraform run on these modules, without AWS and without its registry?
 *
 * On a copy, so that nothing is left in the source tree, with the stand-in provider in place of the
 * real one. Who has no Terraform on the PATH is told so; there is nothing else to install.
 */
import { execFile } from 'node:child_process';
import { accessSync, constants, cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Resource } from './judge-resources.ts';
import type { ProviderSchema } from './provider-schema.ts';
import { type StandIn, standIn } from './stand-in-provider-for-tests.ts';

export const HOW_TO_GET_IT =
  'no terraform on the PATH: install Terraform 1.9 or newer to have the modules validated and planned';

/** What of the source tree Terraform reads. */
const READ = /^(?!.*\.terraform)(.*\.(tf|tftpl|hcl|tfvars)|(?!.*\.[a-z]+$).*)$/;

export function findTerraform(path: string | undefined): string | undefined {
  return (path ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'terraform'))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

export type Answer = { status: number; text: string };

/** What a mocked run made or planned, and the outputs as far as they are known. */
export type Run = { resources: Resource[]; outputs: Record<string, unknown> };

export class Terraform {
  /** The copy: `main.tf` of the whole stands here. */
  readonly folder: string;
  readonly #command: string;
  readonly #own: string;
  readonly #provider: StandIn;

  private constructor(command: string, own: string, provider: StandIn) {
    this.#command = command;
    this.#own = own;
    this.#provider = provider;
    this.folder = join(own, 'terraform');
  }

  static async start(command: string): Promise<Terraform> {
    const own = mkdtempSync(join(tmpdir(), 'domicile-terraform-'));
    cpSync(import.meta.dirname, join(own, 'terraform'), {
      recursive: true,
      filter: (source) => READ.test(source),
    });
    const schema = JSON.parse(
      readFileSync(join(import.meta.dirname, 'provider-schema.json'), 'utf8'),
    ) as ProviderSchema;
    return new Terraform(command, own, await standIn(schema, own));
  }

  /** @param module a folder below the copy; it is initialised first. */
  async in(module: string, ...args: string[]): Promise<Answer> {
    const initialised = await this.run(module, 'init', '-backend=false', '-no-color');
    return initialised.status === 0 ? this.run(module, ...args) : initialised;
  }

  run(module: string, ...args: string[]): Promise<Answer> {
    const env = {
      ...process.env,
      ...this.#provider.environment,
      // Neither the user's own settings nor a question to the makers of Terraform.
      TF_CLI_CONFIG_FILE: '/dev/null',
      CHECKPOINT_DISABLE: '1',
      TF_IN_AUTOMATION: '1',
    };
    return new Promise((done) => {
      const options = { cwd: join(this.folder, module), env, maxBuffer: 256 * 1024 * 1024 };
      execFile(this.#command, args, options, (error, stdout, stderr) => {
        const status = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1;
        done({ status, text: `${stdout}${stderr}` });
      });
    });
  }

  /** Runs a module's own tests. Throws with Terraform's words when one fails. */
  async tested(module: string, ...args: string[]): Promise<Map<string, Run>> {
    const { status, text } = await this.in(module, 'test', '-json', '-verbose', ...args);
    const lines = text
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Line);
    if (status !== 0 || lines.length === 0) {
      const complaints = lines
        .filter((line) => line.diagnostic !== undefined)
        .map(({ diagnostic }) => `${diagnostic?.summary}: ${diagnostic?.detail}`);
      throw new Error([...complaints, text.slice(0, lines.length === 0 ? 4_000 : 0)].join('\n'));
    }
    const runs = new Map<string, Run>();
    for (const { '@testrun': name = '', test_plan: plan, test_state: state } of lines) {
      if (plan !== undefined) runs.set(name, planned(plan));
      if (state !== undefined) runs.set(name, made(state));
    }
    return runs;
  }

  async close(): Promise<void> {
    await this.#provider.close();
    rmSync(this.#own, { recursive: true, force: true });
  }
}

type Module = { resources?: Resource[]; child_modules?: Module[] };
type Line = {
  '@testrun'?: string;
  diagnostic?: { summary: string; detail: string };
  test_plan?: Plan;
  test_state?: { root_module?: Module };
};
type Plan = {
  resource_changes?: { address: string; type: string; mode: string; change: Change }[];
  output_changes?: Record<string, Change>;
};
/** What is not known before an apply is left out of `after`. */
type Change = { after?: unknown };

function planned({ resource_changes = [], output_changes = {} }: Plan): Run {
  return {
    resources: resource_changes
      .filter(({ mode }) => mode === 'managed')
      .map(({ address, type, change }) => ({
        address,
        type,
        values: (change.after ?? {}) as Resource['values'],
      })),
    outputs: Object.fromEntries(
      Object.entries(output_changes).map(([name, { after }]) => [name, after]),
    ),
  };
}

function made({ root_module = {} }: { root_module?: Module }): Run {
  const all = (module: Module): Resource[] => [
    ...(module.resources ?? []),
    ...(module.child_modules ?? []).flatMap(all),
  ];
  return { resources: all(root_module), outputs: {} };
}
