/**
 * Goal: the TLS side of the edge cannot be talked into another policy, a resumed session, a crash or a leak.
 * Method: Node's TLS client and raw sockets, with hellos cut and edited on the way.
 */
import { createServer as createHttpsServer } from "node:https"
import { connect as connectTcp, type AddressInfo } from "node:net"
import { describe, expect, test } from "vitest"
import {
  blobOf,
  codeOf,
  createCrl,
  createLeaf,
  exchange,
  openTls,
  send,
  sharedPki,
  startRelay,
  startTestEdge,
  startUpstream,
} from "./edge-fixtures.ts"

const GET = "GET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n"
const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const

/** Waits for a session that could be resumed; with tickets switched off TLS 1.3 still offers one that leads nowhere. */
async function openWithSession(
  port: number,
  options: Parameters<typeof openTls>[1],
): Promise<{ session: Buffer | undefined }> {
  const socket = await openTls(port, options)
  let session: Buffer | undefined
  socket.on("session", (value: Buffer) => (session = value))
  await exchange(socket, GET, 50)
  session ??= socket.getSession()
  socket.destroy()
  return { session }
}

describe("client certificates", () => {
  test("TLS-02 a caller without a certificate is told to the Worker as such", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    await send(edge, GET)
    expect(blobOf(upstream.requests[0]).tlsClientAuth).toMatchObject({
      certPresented: "0",
      certVerified: "NONE",
      certRevoked: "0",
    })
  })

  test("a trusted certificate is told as verified, and requested whether or not a server name is sent", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const { clientA } = await sharedPki()
    await send(edge, GET, { pair: clientA })
    await send(edge, GET, { pair: clientA, servername: "" })
    for (const request of upstream.requests) expect(blobOf(request).tlsClientAuth.certVerified).toBe("SUCCESS")
    expect(upstream.requests).toHaveLength(2)
  })
})

describe("resumption", () => {
  test.each(VERSIONS)(
    "TLS-07 %s: a session from before a revocation leads to a full handshake and the new verdict",
    async (version) => {
      const upstream = await startUpstream()
      const { caA, clientA } = await sharedPki()
      const edge = await startTestEdge(upstream.port, { crls: [await createCrl(caA, [])] })
      const versions = { minVersion: version, maxVersion: version }
      const { session } = await openWithSession(edge.port, { pair: clientA, ...versions })
      edge.reload({ crls: [await createCrl(caA, [clientA.certificate.serialNumber])] })
      const resumed = await openTls(edge.port, { pair: clientA, session, ...versions })
      await exchange(resumed, GET, 50)
      expect(resumed.isSessionReused()).toBe(false)
      const verdicts = upstream.requests.map((request) => blobOf(request).tlsClientAuth.certRevoked)
      expect(verdicts).toEqual(["0", "1"])
    },
  )

  test("TLS-07 a revocation takes effect on a connection that is already open", async () => {
    const upstream = await startUpstream()
    const { caA, clientA } = await sharedPki()
    const edge = await startTestEdge(upstream.port, { crls: [await createCrl(caA, [])] })
    const socket = await openTls(edge.port, { pair: clientA })
    await exchange(socket, GET, 50)
    edge.reload({ crls: [await createCrl(caA, [clientA.certificate.serialNumber])] })
    await exchange(socket, GET, 50)
    expect(upstream.requests.map((request) => blobOf(request).tlsClientAuth.certRevoked)).toEqual(["0", "1"])
  })

  test.each(VERSIONS)(
    "TLS-09 %s: a session of a.test is not resumed at b.test and brings no certificate along",
    async (version) => {
      const upstream = await startUpstream()
      const edge = await startTestEdge(upstream.port)
      const { clientA } = await sharedPki()
      const versions = { minVersion: version, maxVersion: version }
      const { session } = await openWithSession(edge.port, { pair: clientA, servername: "a.test", ...versions })
      const other = await openTls(edge.port, { servername: "b.test", session, ...versions })
      await exchange(other, GET.replace("gw.test", "b.test"), 50)
      expect(other.isSessionReused()).toBe(false)
      expect(blobOf(upstream.requests.at(-1)).tlsClientAuth.certPresented).toBe("0")
    },
  )

  test.each(VERSIONS)("%s: no session is resumed, not even by its own client at its own host", async (version) => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const { clientA } = await sharedPki()
    const options = { pair: clientA, minVersion: version, maxVersion: version }
    const { session } = await openWithSession(edge.port, options)
    expect((await openTls(edge.port, { ...options, session })).isSessionReused()).toBe(false)
  })

  test("TLS 1.2 renegotiation is refused", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const socket = await openTls(edge.port, { maxVersion: "TLSv1.2" })
    const error = await new Promise<Error | null>((resolve) => {
      socket.on("error", resolve)
      socket.renegotiate({}, resolve)
    })
    expect(error?.message).toMatch(/renegotiation/i)
  })

  test("TLS 1.1 is refused", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const old = openTls(edge.port, { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" })
    await expect(old).rejects.toThrow(/alert protocol version/)
  })
})

/** Splits the handshake octets of a one-record hello into records of the given lengths; the last length repeats. */
function reframe(hello: Buffer, lengths: readonly number[]): Buffer[] {
  const end = 5 + hello.readUInt16BE(3)
  const records: Buffer[] = []
  let offset = 5
  for (let i = 0; offset < end; i++) {
    const part = hello.subarray(offset, Math.min(end, offset + (lengths[i] ?? lengths.at(-1) ?? 1)))
    records.push(Buffer.concat([Buffer.from([22, 3, 1, 0, part.length]), part]))
    offset += part.length
  }
  return [Buffer.concat(records), hello.subarray(end)]
}

describe("hellos", () => {
  const cuts: readonly (readonly [string, (hello: Buffer) => Buffer[]])[] = [
    ["1-byte records", (hello) => reframe(hello, [1])],
    ["5-byte records", (hello) => reframe(hello, [5])],
    ["50-byte records", (hello) => reframe(hello, [50])],
    ["a first record of 4 bytes", (hello) => reframe(hello, [4, 255])],
    ["a record border inside the server name", (hello) => reframe(hello, [hello.indexOf("gw.test") + 3 - 5, 255])],
    ["a record border before the server name", (hello) => reframe(hello, [hello.indexOf("gw.test") - 5, 255])],
    ["two segments", (hello) => [hello.subarray(0, 700), hello.subarray(700)]],
    ["1-byte segments", (hello) => [...hello].map((octet) => Buffer.from([octet]))],
  ]
  test.each(cuts)("TLS-12 %s lead to the same policy as the whole hello", async (name, cut) => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const port = await startRelay(edge.port, cut, name.includes("segments") ? 1 : 0)
    const socket = await openTls(port)
    await exchange(socket, GET, 100)
    const foreign = await exchange(await openTls(port), GET.replace("gw.test", "b.test"), 100)
    expect(upstream.requests.map((request) => blobOf(request).tlsClientAuth.certPresented)).toEqual(["0"])
    expect(codeOf(foreign)).toBe("misdirected-request")
  })

  test("TLS-13 50 stalled hellos end at the deadline while a good request passes", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port, { timeouts: { handshakeMs: 400 } })
    const closed = Array.from({ length: 50 }, () => {
      const socket = connectTcp(edge.port, "127.0.0.1", () => socket.write(Buffer.from([22, 3, 1, 2, 0, 1])))
      socket.resume()
      return new Promise<void>((resolve) => {
        socket.on("error", () => {})
        socket.once("close", () => resolve())
      })
    })
    expect((await send(edge, GET)).statuses).toEqual([200])
    await Promise.all(closed)
    expect(edge.events.filter(({ kind }) => kind === "tls-failed").length).toBe(50)
  })

  test("more connections than the bound are dropped, and the edge serves again afterwards", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port, { connectionsMax: 2 })
    const held = [await openTls(edge.port), await openTls(edge.port)]
    await expect(openTls(edge.port)).rejects.toThrow()
    for (const socket of held) socket.destroy()
    await expect.poll(async () => (await send(edge, GET).catch(() => undefined))?.statuses).toEqual([200])
  })

  test.each(["gw.test.", "GW.test"])("TLS-15 the server name %s is the canonical host", async (servername) => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    expect((await send(edge, GET, { servername })).statuses).toEqual([200])
  })

  const hostile = [
    "evil.example",
    "../../etc",
    "__proto__",
    "constructor",
    "gw.test..",
    "gw.test:443",
    "gw.test, b.test",
    "gw test",
    "xn--\xff",
    "a".repeat(254),
  ]
  test.each(hostile)("TLS-15 the server name %j ends in alert unrecognized_name", async (servername) => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    await expect(openTls(edge.port, { servername })).rejects.toThrow(/unrecognized name|alert number 112/i)
    expect((await send(edge, GET)).statuses).toEqual([200])
  })

  /** Edits the host name inside a hello, length kept: `gw.test` becomes seven other octets. */
  const edits: readonly (readonly [string, string])[] = [
    ["a NUL inside", "g\0.test"],
    ["octets beyond ASCII", "\xff\xfe.test"],
    ["an address", "1.2.3.4"],
    ["brackets", "[::1]:1"],
  ]
  test.each(edits)("TLS-15 a server name with %s ends the handshake", async (_, name) => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const port = await startRelay(edge.port, (hello) => {
      hello.write(name, hello.indexOf("gw.test"), "latin1")
      return [hello]
    })
    await expect(openTls(port)).rejects.toThrow()
    expect((await send(edge, GET)).statuses).toEqual([200])
    expect(upstream.requests).toHaveLength(1)
  })

  test.each(["", "127.0.0.1"])(
    "TLS-15 an allow-listed address is no server name, and no server name is no bypass (%j)",
    async (servername) => {
      const upstream = await startUpstream()
      const edge = await startTestEdge(upstream.port, { hosts: ["gw.test", "127.0.0.1"] })
      const wire = GET.replace("gw.test", "127.0.0.1")
      const port = await startRelay(edge.port, (hello) => {
        const offset = hello.indexOf("gw.test00")
        if (offset > 0) hello.write("127.0.0.1", offset, "latin1")
        return [hello]
      })
      if (servername === "") {
        expect((await send(edge, wire, { servername })).statuses).toEqual([200])
      } else await expect(openTls(port, { servername: "gw.test00" })).rejects.toThrow(/112|unrecognized/)
    },
  )

  test("CH-7 no common application protocol ends in alert 120; http/1.1 beside h2 is chosen", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    await expect(openTls(edge.port, { ALPNProtocols: ["nothing"] })).rejects.toThrow(/alert number 120/)
    expect((await openTls(edge.port, { ALPNProtocols: ["h2", "http/1.1"] })).alpnProtocol).toBe("http/1.1")
  })

  test("CH-2 plain HTTP and noise are closed without an answer", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    for (const octets of [
      GET,
      "\x16\x03\x01\xff\xff",
      "\x17\x03\x03\x00\x01a",
      "PROXY TCP4 10.0.0.1 10.0.0.2 1 443\r\n",
    ]) {
      const answer = await exchange(connectTcp(edge.port, "127.0.0.1"), octets, 300)
      expect(answer.text.includes("HTTP/1.1")).toBe(false)
      if (octets !== "\x16\x03\x01\xff\xff") expect(answer.isClosed).toBe(true)
    }
  })
})

describe("reload", () => {
  test("a new server certificate is used by the next handshake, open connections stay", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const { caB } = await sharedPki()
    const next = await createLeaf(caB, "CN=next")
    const before = await openTls(edge.port)
    edge.reload({ certificate: next.certPem, privateKey: next.keyPem })
    expect((await openTls(edge.port)).getPeerCertificate().subject.CN).toBe("next")
    expect((await exchange(before, GET, 50)).statuses).toEqual([200])
    expect(edge.events.at(-1)).toEqual({ kind: "reloaded" })
  })

  test("resumption stays off after a reload", async () => {
    const upstream = await startUpstream()
    const { clientA } = await sharedPki()
    const edge = await startTestEdge(upstream.port)
    edge.reload({})
    for (const version of VERSIONS) {
      const versions = { minVersion: version, maxVersion: version }
      const { session } = await openWithSession(edge.port, { pair: clientA, ...versions })
      expect((await openTls(edge.port, { session, ...versions })).isSessionReused()).toBe(false)
    }
  })

  test("a key that does not belong to the certificate changes nothing", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const { clientA } = await sharedPki()
    expect(() => edge.reload({ privateKey: clientA.keyPem, hosts: ["other.test"] })).toThrow(/server certificate/)
    expect((await send(edge, GET)).statuses).toEqual([200])
    expect(edge.events).toContainEqual(expect.objectContaining({ kind: "reload-failed" }))
  })

  test("hosts are replaced together with the rest", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    edge.reload({ hosts: ["other.test"] })
    await expect(openTls(edge.port)).rejects.toThrow(/unrecognized/)
    expect((await send(edge, GET.replace("gw.test", "other.test"), { servername: "other.test" })).statuses).toEqual([
      200,
    ])
  })
})

test("control: a plain Node server resumes what these tests offer", async () => {
  const { caA, server, clientA } = await sharedPki()
  const options = {
    key: server.keyPem,
    cert: server.certPem,
    ca: [caA.pem],
    requestCert: true,
    rejectUnauthorized: false,
  }
  const plain = createHttpsServer(options, (_, response) => response.end())
  await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve))
  const { port } = plain.address() as AddressInfo
  const { session } = await openWithSession(port, { pair: clientA })
  const isReused = (await openTls(port, { session })).isSessionReused()
  plain.closeAllConnections()
  plain.close()
  expect(isReused).toBe(true)
})
