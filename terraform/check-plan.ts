/**
 * `npm exec -- node terraform/check-plan.ts FILE`: does this plan let data out of its region?
 *
 * FILE is what `terraform show -json` says of a plan. Findings are printed one a line; the exit status
 * is 1 when there are any, and 2 when the file is not a plan.
 */
import { readFileSync } from 'node:fs';
import { judgeResources, type Resource } from './judge-resources.ts';

type Module = { resources?: Resource[]; child_modules?: Module[] };

function resourcesOf({ resources = [], child_modules = [] }: Module): Resource[] {
  return [...resources, ...child_modules.flatMap(resourcesOf)];
}

function main(file: string | undefined): number {
  if (file === undefined) {
    console.error('usage: check-plan.ts FILE, from: terraform show -json PLAN > FILE');
    return 2;
  }
  const plan = JSON.parse(readFileSync(file, 'utf8')) as {
    planned_values?: { root_module?: Module };
  };
  const planned = plan.planned_values?.root_module;
  if (planned === undefined) {
    console.error(`${file} is not what terraform show -json says of a plan`);
    return 2;
  }
  const resources = resourcesOf(planned);
  const findings = judgeResources(resources);
  for (const { address, because } of findings) console.log(`${address}  ${because}`);
  console.log(`${resources.length} resources, ${findings.length} findings`);
  return findings.length > 0 ? 1 : 0;
}

process.exitCode = main(process.argv[2]);
