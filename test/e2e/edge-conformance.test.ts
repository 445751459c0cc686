/**
 * Goal: the edge as an HTTP/1.1 server, judged by a public suite. Method: every request of Http11Probe that is judged by
 * status alone, over TLS against the edge with an echoing upstream. Runs where SEKISHO_CONFORMANCE names the data.
 */
import { expect, test } from "vitest"
import { exchange, openTls, startTestEdge, startUpstream } from "./edge-fixtures.ts"
import { judge, payloadOf, readVectors } from "./http11probe.ts"

const vectors = readVectors() ?? []

test.skipIf(vectors.length === 0)(
  "Http11Probe: nothing fails that Node alone passes, and nothing of Host and target (SEKISHO_CONFORMANCE)",
  async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port, { hosts: ["gw.local"] })
    const failed: string[] = []
    const results = await Promise.all(
      vectors.map(async (vector) => {
        const { id, verdict, baseline } = vector
        if (verdict === null) return undefined
        const socket = await openTls(edge.port, { servername: "gw.local" })
        const answer = await exchange(socket, payloadOf(vector), 400)
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
