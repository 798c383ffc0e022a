/**
 * Which world does a scenario run in?
 *
 * The same as the one before it, as long as that is of the right kind and nobody has given it up.
 */
import type { Scenario } from './scenario.ts';
import { ChaosWorld, type Environment } from './world.ts';

export type WorldsOptions = {
  app: string;
  /** A world that runs already; undefined: start one. */
  root: string | undefined;
  environment: Environment;
  report: (line: string) => void;
  signal: AbortSignal;
};

export class Worlds {
  readonly #options: WorldsOptions;
  #world: { wan: boolean; world: ChaosWorld } | undefined;

  constructor(options: WorldsOptions) {
    this.#options = options;
  }

  async for({ wan = false }: Pick<Scenario, 'wan'>): Promise<ChaosWorld> {
    if (this.#world !== undefined && this.#world.wan !== wan) await this.stop();
    if (this.#world === undefined) {
      const { root, environment } = this.#options;
      const world =
        root === undefined
          ? await ChaosWorld.start({ ...this.#options, wan })
          : await ChaosWorld.attach(root, environment);
      this.#world = { wan, world };
    }
    return this.#world.world;
  }

  /** Ends it, or leaves it to whoever started it; the next scenario gets another one. */
  async stop(): Promise<void> {
    const running = this.#world;
    this.#world = undefined;
    await running?.world.stop();
  }
}
