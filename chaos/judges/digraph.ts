/**
 * Which nodes of a graph lie on a cycle, and which is the shortest one through a node?
 *
 * Tarjan's strongly connected components, without recursion: a history is deeper than a stack.
 */

/** For each node, the nodes that its edges lead to. */
export type Digraph = readonly (readonly number[])[];

/** Components of more than one node, or of one with an edge to itself. */
export function cyclicComponents(graph: Digraph): number[][] {
  const count = graph.length;
  const index = new Int32Array(count).fill(-1);
  const low = new Int32Array(count);
  const onStack = new Uint8Array(count);
  const edgeAt = new Int32Array(count);
  const stack: number[] = [];
  const path: number[] = [];
  const components: number[][] = [];
  let next = 0;
  const enter = (node: number) => {
    index[node] = next;
    low[node] = next++;
    stack.push(node);
    onStack[node] = 1;
    path.push(node);
  };
  for (let root = 0; root < count; root++) {
    if (index[root] !== -1) continue;
    enter(root);
    while (path.length > 0) {
      const node = path[path.length - 1] as number;
      const to = graph[node]?.[edgeAt[node] as number];
      if (to !== undefined) {
        edgeAt[node] = (edgeAt[node] as number) + 1;
        if (index[to] === -1) enter(to);
        else if (onStack[to] === 1) low[node] = Math.min(low[node] as number, index[to] as number);
        continue;
      }
      path.pop();
      const parent = path[path.length - 1];
      if (parent !== undefined) low[parent] = Math.min(low[parent] as number, low[node] as number);
      if (low[node] !== index[node]) continue;
      const component: number[] = [];
      for (;;) {
        const member = stack.pop() as number;
        onStack[member] = 0;
        component.push(member);
        if (member === node) break;
      }
      if (component.length > 1 || graph[node]?.includes(node) === true) components.push(component);
    }
  }
  return components;
}

/** The nodes from `from` to `to`, both included, over the fewest edges; undefined: there is no way. */
export function shortestPath(
  edgesOf: (node: number) => Iterable<number>,
  from: number,
  to: number,
): number[] | undefined {
  const cameFrom = new Map<number, number>();
  let reached: number[] = [from];
  while (reached.length > 0) {
    const further: number[] = [];
    for (const node of reached) {
      for (const neighbour of edgesOf(node)) {
        if (neighbour === to) return walkedBack(cameFrom, from, node, to);
        if (neighbour === from || cameFrom.has(neighbour)) continue;
        cameFrom.set(neighbour, node);
        further.push(neighbour);
      }
    }
    reached = further;
  }
  return undefined;
}

function walkedBack(
  cameFrom: ReadonlyMap<number, number>,
  from: number,
  last: number,
  to: number,
): number[] {
  const path = [to];
  for (let node: number | undefined = last; node !== undefined; node = cameFrom.get(node)) {
    path.push(node);
    if (node === from) break;
  }
  return path.reverse();
}
