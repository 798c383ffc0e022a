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

  /** Starts it if none stands, with what the tree holds now; false when that cannot be done. */
  async stands(): Promise<boolean> {
    if (this.#standing !== undefined) return true;
    const child = spawn(process.execPath, ['chaos/mutants/standing-world.ts'], {
      cwd: this.#tree,
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const reader = createInterface({ input: child.stdout });
    const lines = reader[Symbol.asyncIterator]();
    const first = await lines.next();
    if (first.done === true) return false;
    this.#standing = { child, lines, reader, world: first.value };
    return true;
  }

  /** Its folder, when its edges and keepers run what the tree holds now; undefined: they do not. */
  async startedAnew(): Promise<string | undefined> {
    const standing = (await this.stands()) ? this.#standing : undefined;
    standing?.child.stdin?.write('\n');
    const answer = await standing?.lines.next();
    if (answer?.done === false) return standing?.world;
    await this.end();
    return undefined;
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
