/**
 * What does Domicile take, and cost, for so many users?
 *
 * Arithmetic only: what one user does and keeps, what one server does, what AWS asks for it. Every
 * number that docs/production.md shows is computed here, so the page cannot drift from its reasons.
 * What is assumed is marked as such; replace it by what you have measured.
 */

const BYTES_PER_GB = 1e9;
const SECONDS_PER_DAY = 86_400;
const DAYS_PER_MONTH = 30.4;
const HOURS_PER_MONTH = 730;

export const USERS = [1e6, 1e8, 1e9] as const;

/** Which share of all users is at home where. Assumed. */
export const HOMES = { us: 0.3, eu: 0.3, asia: 0.4 } as const;
export type Home = keyof typeof HOMES;

/** What users do. All of it assumed: an order system that people use now and then. */
export const WORKLOAD = {
  activeDaily: { value: 0.2, says: 'share of users who come on a day' },
  readsPerActiveDay: { value: 30, says: 'reads of one who comes' },
  writesPerActiveDay: { value: 3, says: 'writes of one who comes' },
  peakOverMean: { value: 3, says: 'busiest hour over the mean' },
  abroad: { value: 0.03, says: 'share of requests that arrive in a region that is not the home' },
  ordersKept: { value: 20, says: 'orders that are kept of each user' },
  itemsPerOrder: { value: 2.5, says: 'items of an order' },
  mirroredWrites: { value: 0.01, says: 'share of writes that change what other regions may see' },
  newcomersDaily: { value: 0.001, says: 'newcomers on a day, as a share of all users' },
  answerBytes: { value: 2_000, says: 'bytes of an answer with its fields' },
  requestsLogged: { value: 0.01, says: 'share of requests that leave a log line or a trace' },
} as const;

const MAXALIGN = 8;
const LINE_POINTER = 4;
const TUPLE_HEADER = 24;
const INDEX_HEADER = 8;
/** Keys that arrive in random order leave a B-tree about this full. */
const INDEX_FILL = 0.7;

/**
 * Bytes of one row with its indexes, from PostgreSQL's own layout: a line pointer, a header of 24 and
 * the columns with their alignment; in an index 8 and the key, at the given fill. cost.pg.test.ts
 * holds them against real tables.
 */
export const ROW_BYTES = {
  directory: heap(17 + 5 + pad(22, 4) + 4 + pad(28, 8) + 8) + index(17) + index(17 + 5),
  residents: heap(37 + 17 + 14 + 14 + 4 + 10) + index(37) + index(17),
  users: heap(37 + 14 + 26 + 3 + 8) + index(37),
  orders: heap(16 + 37 + 7 + 4 + 8 + 8) + index(16) + index(37 + 3 + 8 + 16),
  orderItems: heap(16 + 4 + 37 + 13 + 19 + 3 + 4 + 4) + index(16 + 4),
  receipts: heap(8 + 8 + 6 + 4 + 17 + 4 + 12 + 14 + 5 + 20) + index(8) + 40,
} as const;

/** Lines of a database, by what is kept of one user. */
export const ROWS_AT_HOME = {
  directory: 0,
  residents: 1,
  users: 1,
  orders: WORKLOAD.ordersKept.value,
  orderItems: WORKLOAD.ordersKept.value * WORKLOAD.itemsPerOrder.value,
  receipts: 1,
} as const satisfies Record<keyof typeof ROW_BYTES, number>;

function pad(offset: number, alignment: number): number {
  return (alignment - (offset % alignment)) % alignment;
}

function heap(columns: number): number {
  return LINE_POINTER + TUPLE_HEADER + columns + pad(columns, MAXALIGN);
}

function index(key: number): number {
  return Math.round((LINE_POINTER + INDEX_HEADER + key + pad(key, MAXALIGN)) / INDEX_FILL);
}

/** What a write puts into the log, and what one server and one apply worker do. */
export const CAPACITY = {
  rowsPerWrite: {
    value: 5.5,
    says: 'rows of a write: an order, its items, its version, the kept answer',
  },
  logBytesPerRow: { value: 350, says: 'bytes of log for a row; measured with published tables' },
  fullPages: { value: 2, says: 'the log with page images over the log without; assumed' },
  keptAnswerBytes: { value: 600, says: 'bytes of a kept answer with its indexes, for a day' },
  writesPerVcpu: { value: 400, says: 'write transactions a second of one processor; assumed' },
  readsPerVcpu: { value: 2_500, says: 'read transactions a second of one processor; assumed' },
  writesMax: {
    value: 10_000,
    says: 'write transactions a second of one primary, whatever its size; assumed',
  },
  gbMax: {
    value: 10_000,
    says: 'GB of one cluster: restoring and vacuuming it still ends in a day; assumed',
  },
  applyMax: {
    value: 2_600,
    says: 'commits a second of one apply worker, serial; measured on two processors',
  },
  diskOverData: {
    value: 2,
    says: 'disk over data: bloat, log, slots of peers that are away; assumed',
  },
  edgeRequestsPerVcpu: {
    value: 800,
    says: 'requests a second of one processor of an edge; assumed',
  },
  edgeTarget: { value: 0.55, says: 'how busy edges are kept' },
  restoreGbHour: {
    value: 500,
    says: 'GB an hour that a restore from the bucket brings back; assumed',
  },
  connectionsOfAnEdge: {
    value: 54,
    says: 'connections of an edge to each node, when all its pools are full',
  },
  forcedVacuumAfter: {
    value: 200e6,
    says: 'transactions after which PostgreSQL vacuums a table in any case, by default',
  },
  hotShare: { value: 0.1, says: 'share of the data that should fit into memory; assumed' },
} as const;

type Server = { name: string; vcpu: number; memoryGb: number; hourly: number };

/** AWS's public prices on demand in us-east-1, in US dollars. See PRICES_SOURCE. */
export const SERVERS: readonly Server[] = [
  { name: 't4g.medium', vcpu: 2, memoryGb: 4, hourly: 0.0336 },
  { name: 'r7g.large', vcpu: 2, memoryGb: 16, hourly: 0.1071 },
  { name: 'r7g.xlarge', vcpu: 4, memoryGb: 32, hourly: 0.2142 },
  { name: 'r7g.2xlarge', vcpu: 8, memoryGb: 64, hourly: 0.4284 },
  { name: 'r7g.4xlarge', vcpu: 16, memoryGb: 128, hourly: 0.8568 },
  { name: 'r7g.8xlarge', vcpu: 32, memoryGb: 256, hourly: 1.7136 },
  { name: 'r7g.16xlarge', vcpu: 64, memoryGb: 512, hourly: 3.4272 },
];

export const PRICES_SOURCE =
  "AWS's public list prices, on demand, us-east-1, as known in late 2025; written down by hand, not fetched";

export const PRICES = {
  airlockSmallHour: { value: 0.0168, says: 'an hour of t4g.small' },
  airlockLargeHour: { value: 0.2142, says: 'an hour of r7g.xlarge' },
  diskGbMonth: { value: 0.08, says: 'a GB of gp3 for a month' },
  fargateVcpuHour: { value: 0.03238, says: 'an hour of a Fargate processor, ARM' },
  fargateGbHour: { value: 0.00356, says: 'an hour of a GB of Fargate memory, ARM' },
  loadBalancerHour: { value: 0.0225, says: 'an hour of a network load balancer' },
  loadBalancerGb: { value: 0.006, says: 'a GB through it (one unit)' },
  endpointHour: { value: 0.01, says: 'an hour of a private endpoint in one zone' },
  betweenZonesGb: { value: 0.02, says: 'a GB between two zones, both directions charged' },
  betweenRegionsGb: { value: 0.05, says: 'a GB between two regions, the mean of the three' },
  internetGb: { value: 0.09, says: 'a GB to the internet' },
  objectGbMonth: { value: 0.023, says: 'a GB of S3 for a month' },
  snapshotGbMonth: { value: 0.05, says: 'a GB of snapshots for a month' },
  logGb: { value: 0.5, says: 'a GB of logs taken in' },
  fixedMonth: { value: 20, says: 'key, secrets, zones, health checks, alarms for a month' },
} as const;

/** What a region costs over us-east-1. Assumed. */
export const PRICE_LEVEL: Readonly<Record<Home, number>> = { us: 1, eu: 1.15, asia: 1.25 };

const SMALLEST = {
  nodes: 3,
  diskGb: 50,
  airlockDiskGb: 20,
  rootDisksGb: 80,
  edges: 2,
  endpoints: 11,
  endpointZones: 2,
  backupDays: 14,
} as const;
/** An edge of the module's default size. */
const EDGE = { vcpu: 1, memoryGb: 2 };
const LOG_LINE_BYTES = 1_000;

export type HomeNeeds = {
  home: Home;
  users: number;
  dataGb: number;
  directoryGb: number;
  readsPeak: number;
  writesPeak: number;
  logGbDay: number;
  /** Clusters that the home would need. More than one is not built. */
  clusters: number;
  server: Server;
  diskGb: number;
  edges: number;
  hopsPeak: number;
  /** Rows a second that arrive from peers, at the peak. */
  applied: number;
  /** To one node, when all pools of all edges are full. */
  connections: number;
  restoreHours: number;
  /** From one vacuum that transaction ids force to the next. */
  forcedVacuumDays: number;
  monthly: Record<string, number>;
};

export function needs(home: Home, everybody: number): HomeNeeds {
  const users = everybody * HOMES[home];
  const rate = (perActiveDay: number) =>
    (users * WORKLOAD.activeDaily.value * perActiveDay) / SECONDS_PER_DAY;
  const readsMean = rate(WORKLOAD.readsPerActiveDay.value);
  const writesMean = rate(WORKLOAD.writesPerActiveDay.value);
  const peak = WORKLOAD.peakOverMean.value;
  const readsPeak = readsMean * peak;
  const writesPeak = writesMean * peak;
  const hopsPeak = (readsPeak + writesPeak) * WORKLOAD.abroad.value;

  // Every region knows of everybody where they are at home, by a keyed hash.
  const directoryGb = (everybody * ROW_BYTES.directory) / BYTES_PER_GB;
  const answersGb = (writesMean * SECONDS_PER_DAY * CAPACITY.keptAnswerBytes.value) / BYTES_PER_GB;
  const dataGb = (users * bytesAtHome()) / BYTES_PER_GB + directoryGb + answersGb;

  const logBytes =
    CAPACITY.rowsPerWrite.value * CAPACITY.logBytesPerRow.value * CAPACITY.fullPages.value;
  const logGbDay = (writesMean * SECONDS_PER_DAY * logBytes) / BYTES_PER_GB;

  const clusters = Math.max(
    1,
    Math.ceil(writesPeak / CAPACITY.writesMax.value),
    Math.ceil(dataGb / CAPACITY.gbMax.value),
  );
  const server = serverFor(writesPeak / clusters, readsPeak / clusters, dataGb / clusters);
  const diskGb = Math.max(
    SMALLEST.diskGb,
    Math.ceil((dataGb / clusters) * CAPACITY.diskOverData.value),
  );

  // A hop is handled twice: by the edge that it arrives at and by one at home.
  const handled = readsPeak + writesPeak + hopsPeak;
  const edges = Math.max(
    SMALLEST.edges,
    Math.ceil(
      handled / (CAPACITY.edgeRequestsPerVcpu.value * EDGE.vcpu * CAPACITY.edgeTarget.value),
    ),
  );

  const others = everybody - users;
  const applied =
    ((others * WORKLOAD.newcomersDaily.value +
      others *
        WORKLOAD.activeDaily.value *
        WORKLOAD.writesPerActiveDay.value *
        WORKLOAD.mirroredWrites.value) /
      SECONDS_PER_DAY) *
    peak;

  const requestsMonth = (readsMean + writesMean) * SECONDS_PER_DAY * DAYS_PER_MONTH;
  const answersMonthGb = (requestsMonth * WORKLOAD.answerBytes.value) / BYTES_PER_GB;
  const hopsMonthGb = answersMonthGb * WORKLOAD.abroad.value;
  const logMonthGb = logGbDay * DAYS_PER_MONTH;
  const airlockHour =
    everybody > 1e7 ? PRICES.airlockLargeHour.value : PRICES.airlockSmallHour.value;
  const airlockDiskGb = Math.max(SMALLEST.airlockDiskGb, directoryGb * CAPACITY.diskOverData.value);
  const price = {
    'Postgres servers': clusters * SMALLEST.nodes * server.hourly * HOURS_PER_MONTH,
    'Postgres disks':
      (clusters * SMALLEST.nodes * diskGb + SMALLEST.rootDisksGb) * PRICES.diskGbMonth.value,
    Airlock: airlockHour * HOURS_PER_MONTH + airlockDiskGb * PRICES.diskGbMonth.value,
    Edges:
      edges *
      (EDGE.vcpu * PRICES.fargateVcpuHour.value + EDGE.memoryGb * PRICES.fargateGbHour.value) *
      HOURS_PER_MONTH,
    'Load balancers':
      2 * PRICES.loadBalancerHour.value * HOURS_PER_MONTH +
      (answersMonthGb + hopsMonthGb) * PRICES.loadBalancerGb.value,
    'Private endpoints':
      SMALLEST.endpoints * SMALLEST.endpointZones * PRICES.endpointHour.value * HOURS_PER_MONTH,
    Backups:
      (dataGb * 2 + logGbDay * SMALLEST.backupDays) * PRICES.objectGbMonth.value +
      dataGb * SMALLEST.nodes * PRICES.snapshotGbMonth.value,
    // Two standbys, the archive, and what edges read: two thirds of it in another zone.
    'Between zones': (logMonthGb * 2 + answersMonthGb * (2 / 3)) * PRICES.betweenZonesGb.value,
    'Between regions':
      (hopsMonthGb + appliedMonthGb(applied / peak)) * PRICES.betweenRegionsGb.value,
    'To the internet': answersMonthGb * PRICES.internetGb.value,
    'Logs and the rest':
      PRICES.fixedMonth.value +
      ((requestsMonth * WORKLOAD.requestsLogged.value * LOG_LINE_BYTES) / BYTES_PER_GB) *
        PRICES.logGb.value,
  };
  const monthly = Object.fromEntries(
    Object.entries(price).map(([what, usd]) => [what, usd * PRICE_LEVEL[home]]),
  );
  return {
    home,
    users,
    dataGb,
    directoryGb,
    readsPeak,
    writesPeak,
    logGbDay,
    clusters,
    server,
    diskGb,
    edges,
    hopsPeak,
    applied,
    connections: edges * CAPACITY.connectionsOfAnEdge.value,
    restoreHours: dataGb / clusters / CAPACITY.restoreGbHour.value,
    forcedVacuumDays:
      CAPACITY.forcedVacuumAfter.value / ((writesMean / clusters) * SECONDS_PER_DAY),
    monthly,
  };
}

/** Of one user, in the private cluster of the home. */
export function bytesAtHome(): number {
  return Object.entries(ROWS_AT_HOME).reduce(
    (sum, [table, rows]) => sum + rows * ROW_BYTES[table as keyof typeof ROW_BYTES],
    0,
  );
}

function appliedMonthGb(rowsPerSecond: number): number {
  return (
    (rowsPerSecond * SECONDS_PER_DAY * DAYS_PER_MONTH * CAPACITY.logBytesPerRow.value) /
    BYTES_PER_GB
  );
}

function serverFor(writes: number, reads: number, dataGb: number): Server {
  // Two standbys share the reads; the primary has its writes to do, and any of the three may be it.
  const vcpu = Math.max(
    writes / CAPACITY.writesPerVcpu.value,
    reads / 2 / CAPACITY.readsPerVcpu.value,
  );
  const memoryGb = dataGb * CAPACITY.hotShare.value;
  const enough = SERVERS.find((one) => one.vcpu >= vcpu && one.memoryGb >= memoryGb);
  return enough ?? (SERVERS.at(-1) as Server);
}

/** How many users a home holds before one primary is not enough, and what ends first. */
export function whereOnePrimaryEnds(): { users: number; because: 'writes' | 'size' } {
  const writesPerUser =
    (WORKLOAD.activeDaily.value * WORKLOAD.writesPerActiveDay.value * WORKLOAD.peakOverMean.value) /
    SECONDS_PER_DAY;
  const byWrites = CAPACITY.writesMax.value / writesPerUser;
  // At the largest home, everybody is so many times its users.
  const everybody = 1 / Math.max(...Object.values(HOMES));
  const bytesPerUser = bytesAtHome() + everybody * ROW_BYTES.directory;
  const bySize = (CAPACITY.gbMax.value * BYTES_PER_GB) / bytesPerUser;
  return byWrites < bySize
    ? { users: byWrites, because: 'writes' }
    : { users: bySize, because: 'size' };
}

export function monthlyTotal({ monthly }: HomeNeeds): number {
  return Object.values(monthly).reduce((sum, usd) => sum + usd, 0);
}
