import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { serveMetrics } from './metrics-server.ts';

/** Which packages of OpenTelemetry a process has looked for once it has loaded a module. */
function loadedBy(module: string): string[] {
  const path = new URL(module, import.meta.url).href;
  const code = `
    import { registerHooks } from 'node:module';
    const seen = new Set();
    registerHooks({
      resolve(name, context, next) {
        if (name.startsWith('@opentelemetry/')) seen.add(name);
        return next(name, context);
      },
    });
    await import(${JSON.stringify(path)});
    process.stdout.write(JSON.stringify([...seen]));
    process.exit();`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  return JSON.parse(stdout) as string[];
}

test('an edge or a keeper whose telemetry is off loads nothing of it', () => {
  expect(loadedBy('../edge-command.ts')).toEqual([]);
  expect(loadedBy('../keeper-command.ts')).toEqual([]);
  expect(loadedBy('./open-telemetry.ts')).toContain('@opentelemetry/sdk-trace');
});

test('the address for metrics answers one question', async () => {
  let asked = 0;
  const prometheusText = async () => `asked ${++asked}\n`;
  const server = await serveMetrics({ prometheusText }, { host: '127.0.0.1', port: 0 });
  try {
    const address = server.address();
    const origin = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
    const metrics = await fetch(`${origin}/metrics`);
    expect(metrics.headers.get('content-type')).toContain('version=0.0.4');
    expect(await metrics.text()).toBe('asked 1\n');
    expect((await fetch(`${origin}/metrics`, { method: 'POST' })).status).toBe(405);
    for (const path of ['/', '/metrics/', '/users', '/.domicile/health']) {
      expect((await fetch(origin + path)).status).toBe(404);
    }
    expect(asked).toBe(1);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
