/**
 * Goal: the edge as an HTTP/1.1 server, judged by a public suite. Method: every request of Http11Probe that is judged by
 * status alone, over TLS against the edge with an echoing upstream. Runs where SEKISHO_CONFORMANCE names the data.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { exchange, openTls, startTestEdge, startUpstream } from "./edge-fixtures.ts"

interface Verdict {
  readonly status?: Readonly<Record<string, string>>
  readonly status_conn_open?: Readonly<Record<string, string>>
  readonly status_conn_closed?: Readonly<Record<string, string>>
  readonly no_response_closed?: string
  readonly no_response_timeout?: string
}

interface Vector {
  readonly id: string
  readonly verdict: Verdict | null
  readonly payload_latin1?: string
  readonly payload_b64?: string
  readonly baseline: { readonly node24: readonly [string | null, number | null, string] }
}

function judge(verdict: Verdict, status: number | undefined, isClosed: boolean): string {
  if (status === undefined) return (isClosed ? verdict.no_response_closed : verdict.no_response_timeout) ?? "Fail"
  const table = verdict.status ?? (isClosed ? verdict.status_conn_closed : verdict.status_conn_open) ?? {}
  const found = Object.entries(table).find(([, ranges]) =>
    ranges.split(",").some((range) => {
      const [low = Number.NaN, high = low] = range.split("-").map(Number)
      return status >= low && status <= high
    }),
  )
  return found?.[0] ?? "Fail"
}

const directory = process.env["SEKISHO_CONFORMANCE"]

test.skipIf(directory === undefined)(
  "Http11Probe: nothing fails that Node alone passes, and nothing of Host and target (SEKISHO_CONFORMANCE)",
  async () => {
    const { vectors } = JSON.parse(readFileSync(join(directory ?? "", "http1/http11probe-vectors.json"), "utf8")) as {
      vectors: Vector[]
    }
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port, { hosts: ["gw.local"] })
    const failed: string[] = []
    const results = await Promise.all(
      vectors.map(async ({ id, verdict, payload_latin1, payload_b64, baseline }) => {
        if (verdict === null) return undefined
        const socket = await openTls(edge.port, { servername: "gw.local" })
        const payload =
          payload_b64 === undefined ? Buffer.from(payload_latin1 ?? "", "latin1") : Buffer.from(payload_b64, "base64")
        const answer = await exchange(socket, payload, 400)
        socket.destroy()
        const status = answer.statuses.find((value) => value >= 200)
        const result = judge(verdict, status, answer.isClosed)
        if (result === "Fail") failed.push(`${id} ${status} (Node: ${baseline.node24[1]})`)
        return result
      }),
    )
    const counted = results.filter((result) => result !== undefined)
    console.info(
      `Http11Probe: ${counted.filter((result) => result === "Pass").length} of ${counted.length} pass, ${failed.length} fail`,
    )
    const known = new Set(vectors.filter(({ baseline }) => baseline.node24[0] === "Fail").map(({ id }) => id))
    const isHostOrTarget = (id: string): boolean => /HOST|ASTERISK|TARGET/.test(id)
    expect(failed.filter((line) => !known.has(line.split(" ")[0] ?? "") || isHostOrTarget(line))).toEqual([])
    expect(counted.length).toBeGreaterThan(80)
  },
)
