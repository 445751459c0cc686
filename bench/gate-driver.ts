/**
 * The whole Worker, asked several times by each request that reaches it: `x-bench-requests` says how many. HTTP between the
 * bench and workerd then costs little beside what is measured, so that two cores drive thousands of requests per second
 * through one isolate.
 *
 * Beside that it counts and answers: statuses, what the events say about who decided, every call of an object, and with
 * `x-bench-inspect: <client>` what that client's object itself remembers.
 */
import gateway, { ClientGate } from "../src/index.ts"
import type { BatchReport } from "./batch-report.ts"

export { ClientGate }

const totals = { local: 0, asked: 0, calls: 0, lends: 0 }

// Events are read where they are written: printing them would cost more than what is measured.
console.log = (line: unknown): void => {
  if (String(line).includes('"gate":"local"')) totals.local += 1
  else if (String(line).includes('"gate":"asked"')) totals.asked += 1
}

export default {
  async fetch(request, env, ctx): Promise<Response> {
    const counted = withCounts(env)
    const statuses = await Promise.all(
      Array.from({ length: Number(request.headers.get("x-bench-requests")) }, async () => {
        const answer = await gateway.fetch(request, counted, ctx)
        await answer.body?.cancel()
        return answer.status
      }),
    )
    const client = request.headers.get("x-bench-inspect")
    const report = client === null ? undefined : await env.CLIENT_GATE.getByName(client).inspect()
    const inspectedLends = (report?.holders ?? []).reduce((sum, { calls }) => sum + calls, 0)
    return Response.json({
      admitted: statuses.filter((status) => status === 200).length,
      refused: statuses.filter((status) => status === 429).length,
      failed: statuses.filter((status) => status !== 200 && status !== 429).length,
      totals: { ...totals, inspectedLends },
    } satisfies BatchReport)
  },
} satisfies ExportedHandler<Env>

/** Returns the environment with objects of which every call is counted. */
function withCounts(env: Env): Env {
  const namespace = { getByName: (name: string): object => counted(env.CLIENT_GATE.getByName(name)) }
  return { ...env, CLIENT_GATE: namespace as unknown as Env["CLIENT_GATE"] }
}

function counted(stub: object): object {
  return new Proxy(stub, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== "function") return method
      return (...args: readonly unknown[]): unknown => {
        totals.calls += 1
        if (name === "lend") totals.lends += 1
        return Reflect.apply(method, target, args)
      }
    },
  })
}
