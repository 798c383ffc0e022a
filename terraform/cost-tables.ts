/**
 * How are the figures of `cost.ts` shown on a page?
 *
 * As tables between two comments of docs/production.md, one for each name here. Rounded for readers:
 * three digits that count, no more, because the assumptions have fewer.
 */
import {
  bytesAtHome,
  CAPACITY,
  HOMES,
  type Home,
  type HomeNeeds,
  monthlyTotal,
  needs,
  PRICE_LEVEL,
  PRICES,
  ROW_BYTES,
  ROWS_AT_HOME,
  SERVERS,
  USERS,
  WORKLOAD,
  whereOnePrimaryEnds,
} from './cost.ts';

type Row = readonly (string | number)[];

export function costTables(): Record<string, string> {
  return {
    workload: assumptions(WORKLOAD),
    capacity: assumptions(CAPACITY),
    prices: assumptions({
      ...PRICES,
      ...Object.fromEntries(
        SERVERS.map(({ name, hourly, vcpu, memoryGb }) => [
          name,
          { value: hourly, says: `an hour of ${name}: ${vcpu} processors, memory ${memoryGb}` },
        ]),
      ),
      ...Object.fromEntries(
        Object.entries(PRICE_LEVEL).map(([home, value]) => [
          home,
          { value, says: `everything in ${home}, times` },
        ]),
      ),
    }),
    rows: table(
      ['Table', 'Bytes of a row with its indexes', 'Rows of one user', 'Bytes of one user'],
      [
        ...Object.entries(ROW_BYTES).map(([name, bytes]) => {
          const rows = ROWS_AT_HOME[name as keyof typeof ROW_BYTES];
          return [name, bytes, name === 'directory' ? '1, in every region' : rows, rows * bytes];
        }),
        ['all, at home', '', '', bytesAtHome()],
      ],
    ),
    homes: table(
      ['', ...each((everybody, home) => `${words(everybody)}, ${home}`)],
      [
        line('Users at home', ({ users }) => words(users)),
        line('Data of the home, GB', ({ dataGb }) => rounded(dataGb)),
        line('of it the directory, GB', ({ directoryGb }) => rounded(directoryGb)),
        line('Reads a second, peak', ({ readsPeak }) => rounded(readsPeak)),
        line('Writes a second, peak', ({ writesPeak }) => rounded(writesPeak)),
        line('Hops a second, peak', ({ hopsPeak }) => rounded(hopsPeak)),
        line('Rows a second from peers, peak', ({ applied }) => rounded(applied)),
        line('Log a day, GB', ({ logGbDay }) => rounded(logGbDay)),
        line('Edges', ({ edges }) => rounded(edges)),
        line('Clusters needed', ({ clusters }) => clusters),
        line('Server, three in a cluster', ({ server }) => server.name),
        line('Disk of a server, GB', ({ diskGb }) => rounded(diskGb)),
        line('Connections to a node, all pools full', ({ connections }) => rounded(connections)),
        line('Hours of a restore', ({ restoreHours }) => rounded(restoreHours)),
        line('Days between forced vacuums', ({ forcedVacuumDays }) => rounded(forcedVacuumDays)),
      ],
    ),
    cost: table(
      ['US dollars a month', ...USERS.map((everybody) => words(everybody))],
      [
        ...Object.keys(needs('us', USERS[0]).monthly).map((what) => [
          what,
          ...USERS.map((everybody) => usd(sum(everybody, ({ monthly }) => monthly[what] ?? 0))),
        ]),
        ['All', ...USERS.map((everybody) => usd(sum(everybody, monthlyTotal)))],
        [
          'For each user, in cents',
          ...USERS.map((everybody) => rounded((sum(everybody, monthlyTotal) / everybody) * 100)),
        ],
      ],
    ),
    end: table(
      ['One primary ends at', ''],
      [
        ['users at one home', words(whereOnePrimaryEnds().users)],
        ['because of', whereOnePrimaryEnds().because],
      ],
    ),
  };
}

/** The page with its tables as they are computed now. @throws when the page lacks a place for one. */
export function withTables(page: string): string {
  let text = page;
  for (const [name, content] of Object.entries(costTables())) {
    const place = new RegExp(`(<!-- cost ${name} -->\n)[\\s\\S]*?(<!-- end -->)`);
    if (!place.test(text)) throw new Error(`the page has no place for the table "${name}"`);
    text = text.replace(place, `$1\n${content}\n\n$2`);
  }
  return text;
}

function assumptions(of: Readonly<Record<string, { value: number; says: string }>>): string {
  return table(
    ['What', 'Figure'],
    Object.values(of).map(({ value, says }) => [says, plain(value)]),
  );
}

const homes = Object.keys(HOMES) as Home[];

function each<T>(use: (everybody: number, home: Home) => T): T[] {
  // The largest home decides what a server must do; the others are smaller.
  const largest = homes.reduce((a, b) => (HOMES[b] > HOMES[a] ? b : a));
  return USERS.map((everybody) => use(everybody, largest));
}

function line(what: string, of: (home: HomeNeeds) => string | number): Row {
  return [what, ...each((everybody, home) => of(needs(home, everybody)))];
}

function sum(everybody: number, of: (home: HomeNeeds) => number): number {
  return homes.reduce((total, home) => total + of(needs(home, everybody)), 0);
}

function table(head: Row, rows: readonly Row[]): string {
  const text = (row: Row) => `| ${row.join(' | ')} |`;
  const rule = `|${head.map((_, column) => (column === 0 ? '---|' : '---:|')).join('')}`;
  return [text(head), rule, ...rows.map(text)].join('\n');
}

function words(users: number): string {
  if (users >= 1e9) return `${plain(users / 1e9)} billion`;
  return users >= 1e6 ? `${rounded(users / 1e6)} million` : rounded(users);
}

function usd(amount: number): string {
  return rounded(amount);
}

/** Three digits that count. */
function rounded(value: number): string {
  return plain(Number(value.toPrecision(3)));
}

function plain(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 5 });
}
