#!/usr/bin/env node
/**
 * The command `domicile`: the one place where the router meets environment, clock and terminal.
 *
 * Each command loads what it needs and no more, and keeps what was compiled beside the packages:
 * a local world starts six of these processes at once, and loading is most of their start.
 */
import { randomBytes } from 'node:crypto';
import { enableCompileCache, flushCompileCache } from 'node:module';
import { userInfo } from 'node:os';
import { resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { styleText } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { Command, Option } from 'commander';
import { CannotStart } from '../regions/local/cannot-start.ts';
import { BACKUPS_KEPT } from './backup/backups-kept.ts';
import type { Answer } from './policy-command.ts';
import { VERSION } from './version.ts';
import { STOREFRONT } from './welcome.ts';

const ROOT = resolve('.domicile');

// Whoever may write there may change the packages themselves; where nobody may, nothing is kept.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/compiled', import.meta.url)));

// A reader that has seen enough (`| head`) is no reason to leave a world half way.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
const print = (line: string) => process.stdout.write(`${line}\n`);

function complain(command: string, complaints: readonly string[]): void {
  process.stderr.write(`domicile ${command}: cannot start\n`);
  for (const complaint of complaints) process.stderr.write(`  ${complaint}\n`);
  process.exitCode = 1;
}

/** Resolves with the first signal that asks this process to end; a second one ends it at once. */
function askedToEnd(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (controller.signal.aborted && signal === 'SIGINT') {
        print('Ending without waiting; the next start recovers what is left.');
        process.exit(130);
      }
      controller.abort(signal);
    });
  }
  return controller.signal;
}

/** Settings have their defaults from the edge, so only those who may want its help load it. */
async function edgeSettings(): Promise<string> {
  if (!process.argv.includes('edge')) return '';
  const { settingsHelp } = await import('./config.ts');
  return `\nEnvironment:\n${settingsHelp()}`;
}

async function keeperSettings(): Promise<string> {
  if (!process.argv.includes('keeper')) return '';
  const { telemetryHelp } = await import('./telemetry/telemetry-settings.ts');
  return `\nEnvironment, of what it tells:\n${telemetryHelp()}`;
}

const program = new Command('domicile')
  .description('Keeps each user’s data in its legal home, over ordinary Postgres.')
  .version(VERSION);

program
  .command('up')
  .description('run three regions, their edges and an app on this machine')
  .option('--app <file>', 'the app module', STOREFRONT)
  .option('--policy <file>', 'the residency policy (default: residency.yaml beside the app)')
  .option('--regions <file>', 'the regions (default: regions.yaml beside the app)')
  .option('--schema <file>', 'the app’s tables (default: schema.sql beside the app)')
  .option('--root <folder>', 'where data and logs are kept', ROOT)
  .option('--base-port <port>', 'move all ports to consecutive ones from here')
  .option('--wan', 'give the links between regions their real latency')
  .addOption(
    new Option('--links <which>', 'lead every link through Toxiproxy, to break it').choices([
      'all',
    ]),
  )
  .option('--record-wire', 'keep what passes between regions below run/wire, for an audit')
  .option('--seed', 'load the app’s sample data through its edges')
  .option('--no-backups', 'neither archive the log of each region nor take base backups')
  .option('--not-durable', 'faster: data survives crashes of processes, not of the machine')
  .action(async (options) => {
    const { up } = await import('./up-command.ts');
    const ending = askedToEnd();
    const outcome = await up({
      ...options,
      durable: options.notDurable !== true,
      today: new Date().toISOString().slice(0, 10),
      by: operatorName(),
      environment: process.env,
      now: () => performance.now(),
      wallClock: Date.now,
      print,
      ending,
    });
    if (outcome.kind === 'refused') complain('up', outcome.complaints);
  });

program
  .command('init')
  .description('begin an app: four files that run as they are')
  .argument('[folder]', 'where to write them', '.')
  .action(async (folder) => {
    const { initCommand } = await import('./init-command.ts');
    const written = await initCommand(folder);
    if ('complaints' in written) return complain('init', written.complaints);
    for (const line of written.lines) print(line);
  });

program
  .command('down')
  .description('end a local world, or what a killed one left running')
  .option('--root <folder>', 'where data and logs are kept', ROOT)
  .option('--wipe', 'remove its data as well')
  .action(async ({ root, wipe }) => {
    const { down } = await import('./down-command.ts');
    await down({ root, wipe: wipe === true, print });
  });

program
  .command('edge')
  .description('run one edge')
  .requiredOption('--region <id>', 'the region it stands in')
  .requiredOption('--app <file>', 'the app module: a Hono app as default export')
  .option('--policy <file>', 'the residency policy (default: residency.yaml beside the app)')
  .option('--regions <file>', 'the regions (default: regions.yaml beside the app)')
  .option('--name <edge>', 'which of the region’s edges this is (default: the first)')
  .option('--listen <host:port>', 'where to listen (default: its address in the regions file)')
  .option('--operators <file>', 'who may use the console (default: nobody, and there is none)')
  .addHelpText('after', await edgeSettings())
  .action(async (options) => {
    const { startEdge } = await import('./edge-command.ts');
    const ending = askedToEnd();
    // V8 sees requests in flight survive a collection and then allocates their like as old from
    // the start, which keeps whole finished requests until a full collection: 8 ms a scavenge
    // instead of 0.5 ms, a sixth of an edge's time.
    setFlagsFromString('--no-allocation-site-pretenuring');
    // A local world's edge must not outlive the world.
    process.on('disconnect', () => process.exit(0));
    const started = await startEdge(options, {
      environment: process.env,
      version: VERSION,
      now: () => performance.now(),
      wallClock: Date.now,
      log: (line) => print(JSON.stringify({ at: new Date().toISOString(), ...line })),
    });
    if ('complaints' in started) return complain('edge', started.complaints);
    print(`edge of ${options.region} serves on ${started.address}`);
    process.send?.('ready');
    // Its end may come without a warning, and then nothing would be kept.
    flushCompileCache();
    ending.addEventListener('abort', () => {
      void started.stop().then(() => process.exit(0));
    });
  });

program
  .command('keeper')
  .description('run the keeper of one region: it watches the primary and replaces it')
  .requiredOption('--region <id>', 'the region whose primary it keeps')
  .requiredOption('--record <folder>', 'where its memory lies; one keeper at a time uses it')
  .option('--app <file>', 'the app module', STOREFRONT)
  .option('--policy <file>', 'the residency policy (default: residency.yaml beside the app)')
  .option('--regions <file>', 'the regions (default: regions.yaml beside the app)')
  .addHelpText('after', await keeperSettings())
  .action(async (options) => {
    const { startKeeper } = await import('./keeper-command.ts');
    const ending = askedToEnd();
    process.on('disconnect', () => process.exit(0));
    const started = await startKeeper(options, {
      environment: process.env,
      now: () => performance.now(),
      at: () => new Date().toISOString(),
      pid: process.pid,
      version: VERSION,
      log: (line) => print(JSON.stringify({ at: new Date().toISOString(), ...line })),
    });
    if ('complaints' in started) return complain('keeper', started.complaints);
    print(`keeper of ${options.region} answers on ${started.address}`);
    process.send?.('ready');
    flushCompileCache();
    ending.addEventListener('abort', () => {
      void started.stop().then(() => process.exit(0));
    });
  });

const policy = program.command('policy').description('what a policy says');
const policyOptions = (command: Command) =>
  command
    .option('--app <file>', 'the app module', STOREFRONT)
    .option('--policy <file>', 'the residency policy (default: residency.yaml beside the app)')
    .option('--regions <file>', 'the regions (default: regions.yaml beside the app)')
    .option('--json', 'answer in one line of JSON');

function answer({ lines, json, exitCode }: Answer, asJson: boolean | undefined): void {
  for (const line of asJson === true ? [JSON.stringify(json)] : lines) print(line);
  process.exitCode = exitCode;
}

policyOptions(policy.command('check'))
  .description('say whether a policy is sound, and everything that is wrong with it')
  .option('--with-schema', 'hold it against the tables that the app’s schema.sql makes, too')
  .option('--schema <file>', 'the app’s tables (default: schema.sql beside the app)')
  .action(async (options) => {
    const { checkCommand } = await import('./policy-command.ts');
    // Only a rehearsal has something to clean up; without one, a signal ends this at once.
    const ending = options.withSchema === true ? askedToEnd() : undefined;
    answer(await checkCommand(options, ending), options.json);
  });

policyOptions(policy.command('explain'))
  .description('say where a subject would live and where each of its columns may be')
  .argument('<facts...>', 'such as country=DE contract=standard')
  .action(async (facts, options) => {
    const { explainCommand } = await import('./policy-command.ts');
    answer(await explainCommand(options, facts), options.json);
  });

const today = () => new Date().toISOString().slice(0, 10);
/** For the record of who changed what. */
function operatorName(): string {
  try {
    return userInfo().username;
  } catch {
    // A user without a name in the system's list, as in many containers.
    return `uid ${process.getuid?.()}`;
  }
}
const asStarted = [
  '--policy <file>',
  'the residency policy (default: the one the world was started with)',
] as const;
const by = ['--by <name>', 'who applies it, for the record (default: who you are here)'] as const;
const root = ['--root <folder>', 'where the world keeps its data', ROOT] as const;
/** Which clusters: those of a local world, or those of an installation. */
const onWhich = (command: Command) =>
  command
    .option(...root)
    .addOption(
      new Option(
        '--installation <file>',
        'servers that others have started (default: the local world)',
      ).conflicts('root'),
    );
const json = ['--json', 'answer in one line of JSON'] as const;

onWhich(policy.command('plan'))
  .description(
    'say what this policy would change in the running world: status 0 nothing, 2 something',
  )
  .option(...asStarted)
  .option('--out <file>', 'write the plan to a file, for an apply of exactly this plan')
  .option(...json)
  .action(async (options) => {
    const { planCommand } = await import('./plan-command.ts');
    answer(await planCommand({ ...options, today: today() }), options.json);
  });

onWhich(policy.command('apply'))
  .description('bring the running world to what this policy wants, narrowing before widening')
  .option(...asStarted)
  .option('--plan <file>', 'apply this plan only, and refuse when it has gone stale')
  .option(...by)
  .option(...json)
  .action(async (options) => {
    const { applyCommand } = await import('./plan-command.ts');
    const progress = options.json === true ? () => {} : print;
    const by = options.by ?? operatorName();
    const asked = { ...options, by, today: today(), print: progress, signal: askedToEnd() };
    answer(await applyCommand(asked), options.json);
  });

const schema = program.command('schema').description('scripts that change the app’s tables');

onWhich(schema.command('plan'))
  .description(
    'rehearse new scripts and say what they change, and where: status 0 nothing, 2 something',
  )
  .option(...asStarted)
  .option(...json)
  .action(async (options) => {
    const { schemaPlanCommand } = await import('./schema-command.ts');
    answer(await schemaPlanCommand({ ...options, today: today() }), options.json);
  });

onWhich(schema.command('apply'))
  .description('run new scripts in all regions, then apply the policy, without stopping a copy')
  .option(...asStarted)
  .option(...by)
  .option(...json)
  .action(async (options) => {
    const { schemaApplyCommand } = await import('./schema-command.ts');
    const progress = options.json === true ? () => {} : print;
    const by = options.by ?? operatorName();
    const asked = { ...options, by, today: today(), print: progress, signal: askedToEnd() };
    answer(await schemaApplyCommand(asked), options.json);
  });

const installation = ['--installation <file>', 'the installation'] as const;

program
  .command('provision')
  .description(
    'make what an installation needs on servers that others have started, or say why not',
  )
  .requiredOption(...installation)
  .option('--check', 'only look at the servers')
  .option('--create-databases', 'make the database of each region where it is missing')
  .option(...by)
  .option(...json)
  .action(async (options) => {
    const { provisionCommand } = await import('./installation/provision-command.ts');
    const progress = options.json === true ? () => {} : print;
    const by = options.by ?? operatorName();
    const asked = { ...options, by, today: today(), print: progress, signal: askedToEnd() };
    answer(await provisionCommand(asked), options.json);
  });

program
  .command('new-secrets')
  .description('draw what is missing in the secrets file of an installation; nothing is replaced')
  .requiredOption(...installation)
  .option(...json)
  .action(async (options) => {
    const { newSecretsCommand } = await import('./installation/secrets-commands.ts');
    answer(await newSecretsCommand(options.installation, randomBytes), options.json);
  });

program
  .command('edge-settings')
  .description('write for each region of an installation what its edges start with')
  .requiredOption(...installation)
  .requiredOption('--out <folder>', 'where the files go, such as us.env')
  .option(...json)
  .action(async (options) => {
    const { edgeSettingsCommand } = await import('./installation/secrets-commands.ts');
    answer(await edgeSettingsCommand(options.installation, options.out), options.json);
  });

program
  .command('password-files')
  .description('write for each cluster of an installation what its subscriptions need')
  .requiredOption(...installation)
  .requiredOption('--out <folder>', 'where the files go, such as us.passwords')
  .option(...json)
  .action(async (options) => {
    const { passwordFilesCommand } = await import('./installation/secrets-commands.ts');
    answer(await passwordFilesCommand(options.installation, options.out), options.json);
  });

const mirrors = program.command('mirrors').description('copies of what other homes let out');

onWhich(mirrors.command('status'))
  .description('say how each copy does, what edges may read of it, and what was taken back')
  .option(...json)
  .action(async (options) => {
    const { statusCommand } = await import('./mirrors-command.ts');
    answer(await statusCommand(options), options.json);
  });

onWhich(mirrors.command('refill'))
  .description('fill copies anew: of one home in one region, or all that leave through one airlock')
  .option('--from <region>', 'whose rows')
  .option('--to <region>', 'where they are read')
  .option('--airlock <name>', 'an airlock, with all who read it')
  .option('--by <name>', 'who does it, for the record (default: who you are here)')
  .option(...json)
  .action(async (options) => {
    const { refillCommand } = await import('./mirrors-command.ts');
    const progress = options.json === true ? () => {} : print;
    const by = options.by ?? operatorName();
    const asked = { ...options, by, print: progress, signal: askedToEnd() };
    answer(await refillCommand(asked), options.json);
  });

/** For a region whose primary is moved by others than the keeper of a local world. */
const regionsFile = [
  '--regions <file>',
  'the regions file of a region under Patroni or a managed service (default: ask the local world)',
] as const;
/** What it takes to look at such a region from here. */
const fromHere = () => ({ environment: process.env, now: () => performance.now() });

program
  .command('console-token')
  .description('print what to sign in to the consoles of a local world with')
  .addOption(
    new Option('--role <role>', 'as what').choices(['viewer', 'operator']).default('viewer'),
  )
  .option(...root)
  .action(async ({ role, root }) => {
    const { localConsoleToken } = await import('./console/token-commands.ts');
    const printed = await localConsoleToken(root, role);
    if ('complaints' in printed) return complain('console-token', printed.complaints);
    for (const line of printed.lines) print(line);
  });

program
  .command('new-operator')
  .description('draw a token for the console, with the line that the operators file needs')
  .requiredOption('--name <name>', 'who it is for')
  .addOption(
    new Option('--role <role>', 'as what').choices(['viewer', 'operator']).default('viewer'),
  )
  .action(async ({ name, role }) => {
    const { newOperator } = await import('./console/token-commands.ts');
    for (const line of newOperator(name, role, randomBytes(32).toString('base64url'))) print(line);
  });

const region = program
  .command('region')
  .description('what keeps one region alive, such as: domicile region eu status')
  .usage('<region> [command] [options]')
  .configureHelp({
    commandUsage: (one) =>
      one.name() === 'region'
        ? `domicile region ${one.usage()}`
        : `domicile region <region> ${one.name()} ${one.usage().replace(' <region>', '')}`,
  });

region
  .command('status')
  .description('say who is the primary and who may follow it: status 0 well, 1 not')
  .argument('<region>', 'such as eu')
  .option(...root)
  .option(...regionsFile)
  .option(...json)
  .action(async (region, options) => {
    const { followedStatus } = await import('./followed-region-command.ts');
    const { regionStatus } = await import('./region-command.ts');
    answer(
      options.regions === undefined
        ? await regionStatus({ ...options, region })
        : await followedStatus({ ...options, region, ...fromHere() }),
      options.json,
    );
  });

region
  .command('history')
  .description('say what the keeper has decided, and why')
  .argument('<region>', 'such as eu')
  .option('--count <number>', 'how many of the last decisions', '20')
  .option(...root)
  .option(...regionsFile)
  .option(...json)
  .action(async (region, options) => {
    const { followedHistory } = await import('./followed-region-command.ts');
    const { regionHistory } = await import('./region-command.ts');
    answer(
      options.regions === undefined
        ? await regionHistory({ ...options, region })
        : await followedHistory({ ...options, region, ...fromHere() }),
      options.json,
    );
  });

region
  .command('switchover')
  .description('move the primary to a standby while everything is well, losing nothing')
  .argument('<region>', 'such as eu')
  .option('--to <node>', 'which standby (default: one that commits wait for)')
  .option('--by <name>', 'who asks for it, for the record (default: who you are here)')
  .option(...root)
  .option(...regionsFile)
  .option(...json)
  .action(async (region, options) => {
    const { followedSwitchover } = await import('./followed-region-command.ts');
    const { regionSwitchover } = await import('./region-command.ts');
    const by = options.by ?? operatorName();
    answer(
      options.regions === undefined
        ? await regionSwitchover({ ...options, region, by })
        : await followedSwitchover({ ...options, region, ...fromHere() }),
      options.json,
    );
  });

region
  .command('relocate-primary')
  .description(
    'move the primary to another site that the policy lists, losing nothing if it can be',
  )
  .argument('<region>', 'such as eu')
  .requiredOption('--to <site>', 'the site, such as eu-2')
  .option('--accept-loss', 'answer for what is lost, where the old site is gone')
  .option('--why <text>', 'the reason, for the record')
  .option('--by <name>', 'who asks for it (default: who you are here)')
  .option(...root)
  .option(...json)
  .action(async (region, options) => {
    const { regionRelocate } = await import('./region-command.ts');
    const by = options.by ?? operatorName();
    answer(await regionRelocate({ ...options, region, by }), options.json);
  });

region
  .command('promote')
  .description('promote a standby that may lack acknowledged writes, when its primary is gone')
  .argument('<region>', 'such as eu')
  .argument('<node>', 'the standby')
  .option('--accept-loss', 'answer for what is lost')
  .option('--why <text>', 'the reason, for the record')
  .option('--by <name>', 'who answers for it (default: who you are here)')
  .option(...root)
  .option(...json)
  .action(async (region, node, options) => {
    const { regionPromote } = await import('./region-command.ts');
    const by = options.by ?? operatorName();
    answer(await regionPromote({ ...options, region, node, by }), options.json);
  });

region
  .command('backup')
  .description('take a base backup now: status 0 when it can be restored, 1 when not')
  .argument('<region>', 'such as eu')
  .option('--keep <count>', 'usable backups to keep, with the log they need', String(BACKUPS_KEPT))
  .option(...root)
  .option(...json)
  .action(async (region, options) => {
    const { backupCommand } = await import('./backup/backup-command.ts');
    const asked = { ...options, region, wallClock: Date.now, ending: askedToEnd() };
    answer(await backupCommand(asked), options.json);
  });

region
  .command('backups')
  .description('say which backups there are, and how far the log is archived')
  .argument('<region>', 'such as eu')
  .option(...root)
  .option(...json)
  .action(async (region, options) => {
    const { backupsCommand } = await import('./backup/backup-command.ts');
    answer(await backupsCommand({ ...options, region, wallClock: Date.now }), options.json);
  });

region
  .command('drill')
  .description(
    'restore the newest backup into an isolated server, check it and remove it: status 0 restorable, 1 findings, 2 could not look',
  )
  .argument('<region>', 'such as eu')
  .option('--backup <id>', 'another backup than the newest one')
  .option(...root)
  .option(...json)
  .action(async (region, options) => {
    const { drillCommand } = await import('./backup/drill-command.ts');
    const asked = {
      ...options,
      region,
      wallClock: Date.now,
      now: () => performance.now(),
      random: randomBytes,
      print: options.json === true ? () => {} : print,
      ending: askedToEnd(),
    };
    answer(await drillCommand(asked), options.json);
  });

region
  .command('restore')
  .description('make a data directory that recovers to a moment; starts and replaces nothing')
  .argument('<region>', 'such as eu')
  .requiredOption('--to <folder>', 'the data directory to make')
  .option('--until <time>', 'a moment with its time zone (default: the end of the archive)')
  .option('--backup <id>', 'another backup than the newest one before that')
  .option('--from <folder>', 'where the backups lie (default: where the world keeps them)')
  .option(...root)
  .option(...json)
  .action(async (region, options) => {
    const { restoreCommand } = await import('./backup/restore-command.ts');
    answer(await restoreCommand({ ...options, region }), options.json);
  });

const audit = onWhich(program.command('audit'))
  .description(
    'prove that every byte of the running world is where its policy lets it be: status 0 clean, 1 findings, 2 could not look',
  )
  .option('--policy <file>', 'a policy to judge by (default: the one in force)')
  .option(
    '--out <folder>',
    'where reports and keys go (default: audit in the root, or beside the file)',
  )
  .option('--without <groups>', 'leave out some of data,logs,memory,peers,wires')
  .option('--continuous', 'go on, with one line of JSON a round')
  .option('--every <time>', 'between the starts of two rounds', '60s')
  .option(...json)
  .action(async (options) => {
    const { auditCommand } = await import('./audit-command.ts');
    process.exitCode = await auditCommand({
      ...options,
      wallClock: Date.now,
      random: randomBytes,
      print,
      ending: askedToEnd(),
    });
  });

audit
  .command('verify')
  .description('say whether a report is genuine: status 0 it is, 1 it is not')
  .argument('<report>', 'the signed JSON report')
  .requiredOption('--key <file>', 'the auditor’s public key, audit.pub')
  .option(...json)
  .action(async (report, _options, command) => {
    const { verifyCommand } = await import('./audit-command.ts');
    // Both commands know --json, and the outer one reads it.
    const options = command.optsWithGlobals();
    answer(await verifyCommand(report, options.key), options.json);
  });

/** `region eu status` reads well; the parser wants the command before its argument. */
function commandFirst(words: readonly string[]): string[] {
  const [name, id, verb, ...rest] = words;
  const isVerb = region.commands.some((one) => one.name() === id);
  if (name !== 'region' || id === undefined || id.startsWith('-') || isVerb) return [...words];
  return verb === undefined ? [name] : [name, verb, id, ...rest];
}

try {
  await program.parseAsync(commandFirst(process.argv.slice(2)), { from: 'user' });
} catch (error) {
  // What a person can mend is said in words; everything else is a bug and keeps its stack.
  const { ProvisionError } = await import('./provision.ts');
  if (!(error instanceof CannotStart) && !(error instanceof ProvisionError)) throw error;
  process.stderr.write(`${styleText('red', 'domicile:')} ${error.message}\n`);
  process.exitCode = 1;
}
