/**
 * Do the edges on these ports of this machine serve?
 *
 * The health check of the image. Status 0 when each one says that it is well, 1 with a reason when not.
 */
const PATIENCE_MS = 4_000;

for (const port of process.argv.slice(2)) {
  const url = `http://127.0.0.1:${port}/.domicile/health`;
  try {
    const { ok, status } = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (ok) continue;
    process.stderr.write(`${url} answers ${status}\n`);
  } catch (error) {
    process.stderr.write(`${url} does not answer: ${error}\n`);
  }
  process.exitCode = 1;
}
