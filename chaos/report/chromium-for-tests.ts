/**
 * What does a real browser make of a page?
 *
 * Headless Chromium where there is one, spoken to over its DevTools protocol: it tells what a page
 * wrote to the console, what it asked the network for and how wide it became.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const START_WITHIN_MS = 90_000;
const ANSWER_WITHIN_MS = 30_000;
/** Of keys that a browser itself does something for. */
const KEY_NUMBERS: Readonly<Record<string, number>> = {
  ...{ Tab: 9, Enter: 13, Escape: 27, ArrowLeft: 37, ArrowRight: 39 },
};

/** Where it is; undefined where there is none. */
export function chromiumPath(): string | undefined {
  const folders = (process.env.PATH ?? '').split(':');
  return folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find(existsSync);
}

export type Page = {
  /** Until it has loaded. */
  open(url: string): Promise<void>;
  resize(widthPx: number, heightPx: number): Promise<void>;
  /** As if the person had chosen it; `print` lays out for paper. */
  media(scheme: 'light' | 'dark', medium?: 'screen' | 'print'): Promise<void>;
  evaluate<T>(expression: string): Promise<T>;
  pointAt(x: number, y: number): Promise<void>;
  press(key: string, shift?: boolean): Promise<void>;
  /** Into what has the focus. */
  type(text: string): Promise<void>;
  /** What is in the window, as PNG. */
  picture(): Promise<Buffer>;
  /** Console messages, exceptions, refusals of the content policy. */
  readonly complaints: string[];
  /** All addresses asked for. */
  readonly requests: string[];
};

export type Browser = { page: Page; close(): Promise<void> };

export async function startChromium(path: string): Promise<Browser> {
  const folder = mkdtempSync(join(tmpdir(), 'chaos-report-'));
  const child = spawn(
    path,
    [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--no-first-run',
      '--disable-background-networking',
      '--hide-scrollbars',
      '--remote-debugging-port=0',
      `--user-data-dir=${folder}`,
      'about:blank',
    ],
    // A group of its own, so that its own children end with it.
    { stdio: 'ignore', detached: true },
  );
  const close = async () => {
    await ended(child);
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };
  try {
    const origin = `127.0.0.1:${await debuggingPort(folder, child)}`;
    const targets = (await (await fetch(`http://${origin}/json/list`)).json()) as {
      type: string;
      webSocketDebuggerUrl: string;
    }[];
    const target = targets.find(({ type }) => type === 'page');
    if (target === undefined) throw new Error('Chromium has started without a page.');
    return { page: await pageOf(target.webSocketDebuggerUrl), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function debuggingPort(folder: string, child: ChildProcess): Promise<number> {
  const file = join(folder, 'DevToolsActivePort');
  const until = performance.now() + START_WITHIN_MS;
  while (performance.now() < until) {
    if (child.exitCode !== null) throw new Error(`Chromium ended at once: ${child.exitCode}.`);
    const port = existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : 0;
    if (port > 0) return port;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`Chromium has not told its port within ${START_WITHIN_MS} ms.`);
}

type Told = {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
};

async function pageOf(address: string): Promise<Page> {
  const socket = new WebSocket(address);
  await new Promise<void>((done, fail) => {
    socket.addEventListener('open', () => done());
    socket.addEventListener('error', () => fail(new Error('The DevTools connection was refused.')));
  });
  const waiting = new Map<number, (told: Told) => void>();
  const listeners = new Map<string, () => void>();
  const complaints: string[] = [];
  const requests: string[] = [];
  let last = 0;
  socket.addEventListener('message', ({ data }) => {
    const told = JSON.parse(String(data)) as Told;
    if (told.id !== undefined) return waiting.get(told.id)?.(told);
    const { method = '', params = {} } = told;
    const words = JSON.stringify(params).slice(0, 500);
    if (
      /^(Runtime\.(consoleAPICalled|exceptionThrown)|Log\.entryAdded|Audits\.issueAdded)$/.test(
        method,
      )
    )
      complaints.push(`${method} ${words}`);
    if (method === 'Network.requestWillBeSent')
      requests.push((params.request as { url: string }).url);
    listeners.get(method)?.();
  });
  function send(method: string, params: Record<string, unknown> = {}) {
    last += 1;
    const id = last;
    return new Promise<Record<string, unknown>>((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`${method}: no answer.`)), ANSWER_WITHIN_MS);
      waiting.set(id, ({ result = {}, error }) => {
        clearTimeout(timer);
        waiting.delete(id);
        if (error === undefined) done(result);
        else fail(new Error(`${method}: ${error.message}`));
      });
      socket.send(JSON.stringify({ id, method, params }));
    });
  }
  for (const domain of ['Page', 'Runtime', 'Log', 'Network', 'Audits'])
    await send(`${domain}.enable`);
  const mouse = (x: number, y: number) =>
    send('Input.dispatchMouseEvent', { type: 'mouseMoved', x, y, pointerType: 'mouse' });
  return {
    complaints,
    requests,
    async open(url) {
      const loaded = new Promise<void>((done) => listeners.set('Page.loadEventFired', done));
      await send('Page.navigate', { url });
      await loaded;
    },
    async resize(width, height) {
      const device = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
      await send('Emulation.setDeviceMetricsOverride', device);
    },
    async media(scheme, medium = 'screen') {
      const features = [{ name: 'prefers-color-scheme', value: scheme }];
      await send('Emulation.setEmulatedMedia', { media: medium, features });
    },
    async evaluate<T>(expression: string): Promise<T> {
      const { result, exceptionDetails } = await send('Runtime.evaluate', {
        expression,
        returnByValue: true,
      });
      if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
      return (result as { value: T }).value;
    },
    async pointAt(x, y) {
      await mouse(x, y);
    },
    async press(key, shift = false) {
      // Without its number a key is heard by scripts, and does nothing of its own.
      const windowsVirtualKeyCode = KEY_NUMBERS[key] ?? 0;
      const about = { key, code: key, windowsVirtualKeyCode, modifiers: shift ? 8 : 0 };
      const text = key === 'Enter' ? { text: '\r' } : {};
      await send('Input.dispatchKeyEvent', { type: 'keyDown', ...about, ...text });
      await send('Input.dispatchKeyEvent', { type: 'keyUp', ...about });
    },
    async type(text) {
      await send('Input.insertText', { text });
    },
    async picture() {
      const { data } = await send('Page.captureScreenshot');
      return Buffer.from(String(data), 'base64');
    },
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const over = new Promise<void>((done) => child.once('exit', () => done()));
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It ended by itself in between.
  }
  await over;
}
