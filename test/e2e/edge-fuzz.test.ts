/**
 * Goal: no octets make the edge fail, hang or pass on what it must not. Method: seeded mutations of good requests over
 * TLS; whatever reaches the upstream is checked, and afterwards the edge still serves.
 */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import {
  blobOf,
  exchange,
  expectedMac,
  openTls,
  send,
  startTestEdge,
  startUpstream,
  valuesOf,
} from "./edge-fixtures.ts"

const SEEDS = [
  "GET /public/x?q=1 HTTP/1.1\r\nHost: gw.test\r\nAccept: */*\r\n\r\n",
  "POST /pay HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
  "POST /pay HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: gw.test\r\nConnection: close, X-A\r\nX-A: 1\r\nMF-CF-Blob: {}\r\nCF-Connecting-IP: 9.9.9.9\r\n\r\n",
]
const PIECES = [
  "\r\n",
  "\n",
  "\r",
  "\0",
  " ",
  "\t",
  ":",
  ",",
  "\xff",
  "HTTP/1.0",
  "HTTP/1.1",
  "Host: b.test\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Content-Length: 1\r\n",
  "MF-CF-Blob: {}\r\n",
  "Mf-cf-blob : {}\r\n",
  "GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n",
  "/../",
  "%2e",
  "@",
  "#",
  "Connection: Host\r\n",
  "Upgrade: h2c\r\n",
  "Expect: 100-continue\r\n",
  "_",
  "X-B: 1\r\n",
  "Via: a\r\n",
  "a",
  "-",
  "0\r\n\r\n",
  "ffffffffffffffff\r\n",
]

/** Half of the pieces go in front of a line, where they are fields; the others fall anywhere. */
const mutation = fc.record({
  place: fc.integer({ min: 0, max: 999 }),
  isLineStart: fc.boolean(),
  removed: fc.constantFrom(0, 0, 0, 1, 4),
  inserted: fc.oneof(fc.constantFrom(...PIECES), fc.string({ unit: "binary-ascii", maxLength: 3 })),
})
const mutant = fc
  .tuple(fc.constantFrom(...SEEDS), fc.array(mutation, { minLength: 1, maxLength: 3 }))
  .map(([seed, mutations]) =>
    mutations.reduce((text, { place, isLineStart, removed, inserted }) => {
      const anywhere = Math.floor((place * text.length) / 1_000)
      const line = text.indexOf("\r\n", anywhere)
      const at = isLineStart && line >= 0 ? line + 2 : anywhere
      return text.slice(0, at) + inserted + text.slice(at + removed)
    }, seed),
  )

test(
  "2,000 mutated requests leave the edge serving and reach the Worker only well-formed and signed",
  { timeout: 120_000 },
  async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port, { timeouts: { headersMs: 30, requestMs: 30, lingerMs: 10 } })
    const wires = fc.sample(mutant, { seed: 20261122, numRuns: 2_000 })
    let next = 0
    const work = async (): Promise<void> => {
      for (let i = next++; i < wires.length; i = next++) {
        const socket = await openTls(edge.port)
        const answer = await exchange(socket, wires[i] ?? "", 8)
        socket.destroy()
        for (const status of answer.statuses) expect([100, 200, 400, 405, 408, 414, 421, 431, 505]).toContain(status)
      }
    }
    await Promise.all(Array.from({ length: 16 }, work))
    for (const request of upstream.requests) {
      expect([
        valuesOf(request, "host").length,
        valuesOf(request, "mf-cf-blob").length,
        valuesOf(request, "cf-connecting-ip"),
      ]).toEqual([1, 1, ["127.0.0.1"]])
      expect(request.target).toMatch(/^\/[!-~]*$/)
      expect(blobOf(request).edgeAssertion.mac).toBe(expectedMac(request))
      expect(blobOf(request).tlsClientAuth.certPresented).toBe("0")
    }
    expect(edge.events.filter(({ kind }) => kind === "internal-error")).toEqual([])
    expect(upstream.requests.length).toBeGreaterThan(200)
    expect((await send(edge, SEEDS[0] ?? "")).statuses).toEqual([200])
  },
)
