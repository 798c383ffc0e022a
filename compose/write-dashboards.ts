/** Writes the dashboards into the files that Grafana reads: `node compose/write-dashboards.ts`. */
import { writeFileSync } from 'node:fs';
import { DASHBOARDS, dashboardFile } from './dashboards.ts';

for (const dashboard of DASHBOARDS) {
  const file = new URL(`grafana/dashboards/${dashboard.uid}.json`, import.meta.url);
  writeFileSync(file, dashboardFile(dashboard));
}
