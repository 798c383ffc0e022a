/** The world that stands while mistakes are tried in one copy of the tree: started when it is needed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';

type Standing = {
  child: ChildProcess;
  lines: AsyncIterator<string>;
  reader: Interface;
  world: string;
};

export class RunningWorld {
  readonly #tree: string;
  #standing: Standing | undefined;

  constructor(tree: string) {
    this.#tree = tree;
  }

  /**
   * The folder of a world whose edges and keepers run what the tree holds now. Undefined when it
   * cannot be had.
   */
  async withWhatIsThere(): Promise<string | undefined> {
    if (this.#standing !== undefined) {
      this.#standing.child.stdin?.write('\n');
      const { done } = await this.#standing.lines.next();
      if (done !== true) return this.#standing.world;
      await this.end();
    }
    const child = spawn(process.execPath, ['chaos/mutants/standing-world.ts'], {
      cwd: this.#tree,
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const reader = createInterface({ input: child.stdout });
    const lines = reader[Symbol.asyncIterator]();
    const first = await lines.next();
    if (first.done === true) return undefined;
    this.#standing = { child, lines, reader, world: first.value };
    return first.value;
  }

  /** The next one is another one. */
  async end(): Promise<void> {
    const standing = this.#standing;
    this.#standing = undefined;
    if (standing === undefined) return;
    const { child } = standing;
    const hasEnded = child.exitCode !== null || child.signalCode !== null;
    const exit = hasEnded ? undefined : once(child, 'exit');
    child.stdin?.end();
    await exit;
  }
}
