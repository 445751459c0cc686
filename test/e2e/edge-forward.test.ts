/**
 * Goal: the Worker gets exactly what the caller sent, minus what ends at the edge, plus details only the edge can sign;
 * and an exchange that breaks on one side breaks on the other. Method: a recording upstream in the Worker's place.
 */
import { once } from "node:events"
import { createServer as createTcpServer, type AddressInfo, type Socket } from "node:net"
import { describe, expect, onTestFinished, test } from "vitest"
import type { EdgeOptions } from "../../edge/options.ts"
import {
  blobOf,
  codeOf,
  exchange,
  expectedMac,
  openTls,
  send,
  sharedPki,
  startTestEdge,
  startUpstream,
  valuesOf,
  type Recorded,
} from "./edge-fixtures.ts"

const HOST = "Host: gw.test"

async function forwardOne(wire: string, options: Partial<EdgeOptions> = {}): Promise<Recorded> {
  const upstream = await startUpstream()
  const edge = await startTestEdge(upstream.port, options)
  const { clientA } = await sharedPki()
  const answer = await send(edge, wire, { pair: clientA })
  expect(answer.statuses).toEqual([200])
  const [recorded] = upstream.requests
  if (recorded === undefined) throw new Error("nothing was forwarded")
  return recorded
}

/** Starts an upstream that writes prepared octets and hands its socket to `behave`. */
async function startRawUpstream(behave: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createTcpServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    behave(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

describe("connection details", () => {
  test("HDR-03 the caller's MF-CF-Blob is removed and the edge's stands alone", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    await send(edge, `GET /x HTTP/1.1\n${HOST}\nMF-CF-Blob: {"tlsClientAuth":{"certPresented":"1"}}\n\n`)
    expect(valuesOf(upstream.requests[0], "mf-cf-blob")).toHaveLength(1)
    expect(blobOf(upstream.requests[0]).tlsClientAuth).toMatchObject({
      certPresented: "0",
      certVerified: "NONE",
      certRFC9440: "",
    })
  })

  test("HDR-04 lines around the edge's own line cannot enclose it", async () => {
    const recorded = await forwardOne(
      `GET /x HTTP/1.1\n${HOST}\nMF-CF-Blob: {"tlsClientAuth":{},"p":[0\nmf-cf-blob: 0]}\nMf-Cf-Blob: x\nMF-Original-URL: http://evil\n\n`,
    )
    expect(recorded.rawHeaders.filter((name) => /^mf-/i.test(name))).toEqual(["MF-CF-Blob"])
    expect(blobOf(recorded).tlsClientAuth).toMatchObject({ certPresented: "1", certVerified: "SUCCESS" })
  })

  test("the MAC covers method, host, target, address, id, expiry and details", async () => {
    const recorded = await forwardOne("DELETE /a%2Fb?q=%41 HTTP/1.1\nhOsT: GW.test:8443\n\n", {
      now: () => 1_790_000_000_000,
    })
    expect(blobOf(recorded).edgeAssertion).toMatchObject({ exp: 1_790_000_010_000, mac: expectedMac(recorded) })
    expect(recorded).toMatchObject({ method: "DELETE", target: "/a%2Fb?q=%41" })
    expect(valuesOf(recorded, "host")).toEqual(["GW.test:8443"])
  })

  test("every request gets another id", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    await exchange(await openTls(edge.port), `GET /x HTTP/1.1\r\n${HOST}\r\n\r\n`.repeat(3), 50)
    expect(new Set(upstream.requests.map((request) => blobOf(request).edgeAssertion.rid)).size).toBe(3)
  })

  test.each([
    ["TLSv1.2", /^ECDHE-ECDSA-/],
    ["TLSv1.3", /^AEAD-AES\d{3}-GCM-SHA\d{3}$/],
  ] as const)("%s is told with the name of its cipher suite", async (version, cipher) => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`, { minVersion: version, maxVersion: version })
    expect(blobOf(upstream.requests[0])).toMatchObject({ tlsVersion: version, httpProtocol: "HTTP/1.1" })
    expect(blobOf(upstream.requests[0]).tlsCipher).toMatch(cipher)
  })

  test("HDR-10 the address is the socket's, once, and no forwarding field of the caller passes", async () => {
    const recorded = await forwardOne(
      `GET /x HTTP/1.1\n${HOST}\nX-Forwarded-For: 127.0.0.9\nForwarded: for=9.9.9.9\nCF-Connecting-IP: 9.9.9.9\ncf-ray: 1\nTrue-Client-IP: 9.9.9.9\nX-Real-IP: 9.9.9.9\nVia: 1.1 a\n\n`,
    )
    expect(valuesOf(recorded, "cf-connecting-ip")).toEqual(["127.0.0.1"])
    for (const name of ["x-forwarded-for", "forwarded", "cf-ray", "true-client-ip", "x-real-ip"]) {
      expect(valuesOf(recorded, name)).toEqual([])
    }
    expect(valuesOf(recorded, "via")).toEqual(["1.1 a"])
  })

  test("HDR-10 an IPv4 caller on an IPv6 listener has its IPv4 address", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port, { host: "::" }).catch(() => undefined)
    if (edge === undefined) return
    await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)
    expect(valuesOf(upstream.requests[0], "cf-connecting-ip")).toEqual(["127.0.0.1"])
  })
})

describe("header fields", () => {
  const matrix = [
    "X-Client-Id: acme-b",
    "X-SSL-Client-Verify: SUCCESS",
    "SSL_CLIENT_CERT: x",
    "Cf-Client-Cert-Sha256: 00",
    "CF-Client-Cert-Der-Base64: AA",
    "Client_Cert: x",
    "Content_Length: 9",
    "MF_CF_Blob: {}",
    "X-Amzn.Mtls: x",
  ].join("\n")

  test("HDR-01 without a certificate the matrix leaves the details saying so", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    await send(edge, `GET /x HTTP/1.1\n${HOST}\n${matrix}\n\n`)
    expect(blobOf(upstream.requests[0]).tlsClientAuth.certPresented).toBe("0")
  })

  test("HDR-02 names beyond letters, digits and hyphens, and Cf-*, are dropped; the request passes", async () => {
    const recorded = await forwardOne(`GET /x HTTP/1.1\n${HOST}\n${matrix}\n\n`)
    const names = recorded.rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase())
    expect(names.filter((name) => !/^[a-z0-9-]+$/.test(name))).toEqual([])
    expect(names.filter((name) => name.startsWith("cf-"))).toEqual(["cf-connecting-ip"])
  })

  test("HDR-11 X-Forwarded-* is removed whatever its last part", async () => {
    const recorded = await forwardOne(`GET /x HTTP/1.1\n${HOST}\nX-Forwarded-Uri: /admin\nX-Forwarded-Whatever: 1\n\n`)
    expect(recorded.rawHeaders.some((name) => /^x-forwarded/i.test(name))).toBe(false)
  })

  test("HDR-12 Connection removes what it names, but neither framing, Host nor the edge's own fields", async () => {
    const recorded = await forwardOne(
      `POST /x HTTP/1.1\n${HOST}\nConnection: close, X-Hop, Content-Length, Host, Authorization\nConnection: MF-CF-Blob, CF-Connecting-IP\nX-Hop: 1\nX-Keep: 1\nAuthorization: Bearer t\nContent-Length: 2\n\nhi`,
    )
    expect(valuesOf(recorded, "x-hop")).toEqual([])
    expect(recorded.body.toString()).toBe("hi")
    for (const name of ["x-keep", "host", "authorization", "mf-cf-blob", "cf-connecting-ip"]) {
      expect(valuesOf(recorded, name)).toHaveLength(1)
    }
  })

  test("HDR-14 hop-by-hop fields end at the edge", async () => {
    const recorded = await forwardOne(
      `GET /x HTTP/1.1\n${HOST}\nProxy-Authorization: Basic eDp5\nProxy-Connection: keep-alive\nKeep-Alive: 9\nTE: trailers\nTrailer: X-A\nHTTP2-Settings: AA\nExpect: something\nUpgrade: h2c\n\n`,
    )
    const names = [
      "proxy-authorization",
      "proxy-connection",
      "keep-alive",
      "te",
      "trailer",
      "http2-settings",
      "expect",
      "upgrade",
    ]
    expect(names.filter((name) => valuesOf(recorded, name).length > 0)).toEqual([])
    expect(valuesOf(recorded, "connection")).toEqual(["keep-alive"])
  })

  test("lines of cookies are one, with the separator of cookies, in the place of the first", async () => {
    const recorded = await forwardOne(`GET /x HTTP/1.1\n${HOST}\nCOOKIE: a=1; b="2,3"\nX-A: 1\nCookie: c=4\n\n`)
    expect(recorded.rawHeaders.slice(2, 6)).toEqual(["COOKIE", 'a=1; b="2,3"; c=4', "X-A", "1"])
  })

  test("the other fields arrive in order, with case, doubles and octets as sent", async () => {
    const recorded = await forwardOne(
      `GET /x HTTP/1.1\n${HOST}\nX-Twice: 1\nX-b: \t v ~\nX-Twice: 2\nACCEPT: */*\nX-Empty:\n\n`,
    )
    const pairs = recorded.rawHeaders.slice(0, 12)
    expect(pairs).toEqual([
      "Host",
      "gw.test",
      "X-Twice",
      "1",
      "X-b",
      "v ~",
      "X-Twice",
      "2",
      "ACCEPT",
      "*/*",
      "X-Empty",
      "",
    ])
  })

  test("hop-by-hop and nominated fields of the response are removed, doubles stay", async () => {
    const upstream = await startUpstream((_, response) => {
      const fields = [
        "Set-Cookie",
        "a=1",
        "Connection",
        "X-Hop",
        "X-Hop",
        "1",
        "Set-Cookie",
        "b=2",
        "X-Request-Id",
        "abc",
        "Keep-Alive",
        "9",
      ]
      response.writeHead(207, fields)
      response.end("ok")
    })
    const edge = await startTestEdge(upstream.port)
    const answer = await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)
    expect(answer.text).toMatch(/Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Request-Id: abc\r\n/)
    expect([answer.statuses[0], answer.headers.has("x-hop")]).toEqual([207, false])
  })
})

test.each(["with its head", "later"])(
  "octets above ASCII in a field of the answer arrive as they were, when its body comes %s",
  async (when) => {
    const worker = Promise.withResolvers<Socket>()
    const port = await startRawUpstream((socket) => {
      socket.once("data", () => {
        const body = when === "later" ? "" : "body"
        socket.write(`HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nContent-Length: 4\r\n\r\n${body}`, "latin1")
        worker.resolve(socket)
      })
    })
    const edge = await startTestEdge(port)
    const client = await openTls(edge.port)
    client.write(`GET /x HTTP/1.1\r\n${HOST}\r\n\r\n`)
    const [head] = (await once(client, "data")) as [Buffer]
    expect(head.toString("latin1")).toContain("X-Name: caf\xe9\r\n")
    if (when !== "later") return
    const socket = await worker.promise
    socket.write("body")
    expect(String(((await once(client, "data")) as [Buffer])[0])).toBe("body")
  },
)

describe("bodies", () => {
  test("a chunked body arrives whole and chunked, its trailers do not", async () => {
    const recorded = await forwardOne(
      `POST /x HTTP/1.1\n${HOST}\nTransfer-Encoding: chunked\nTrailer: X-T\n\n5;ext=1\nhello\n6\n world\n0\nX-T: 1\nMF-CF-Blob: {}\n\n`,
    )
    expect(recorded.body.toString()).toBe("hello world")
    expect(valuesOf(recorded, "transfer-encoding")).toEqual(["chunked"])
    expect(valuesOf(recorded, "mf-cf-blob")).toHaveLength(1)
  })

  test("a POST without a body is forwarded without one", async () => {
    const recorded = await forwardOne(`POST /x HTTP/1.1\n${HOST}\n\n`)
    expect([
      recorded.body.length,
      valuesOf(recorded, "content-length"),
      valuesOf(recorded, "transfer-encoding"),
    ]).toEqual([0, ["0"], []])
  })

  test("16 MB pass both ways unchanged", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const body = Buffer.alloc(16_000_000, "0123456789abcdef\n")
    const socket = await openTls(edge.port)
    socket.write(`PUT /x HTTP/1.1\r\n${HOST}\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`)
    socket.write(body)
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(chunk as Buffer)
    const answer = Buffer.concat(chunks)
    expect(answer.subarray(answer.indexOf("\r\n\r\n") + 4).equals(body)).toBe(true)
  })

  test("a reader that stops holds the Worker back", async () => {
    let sent = 0
    const upstream = await startUpstream((_, response) => {
      const chunk = Buffer.alloc(65_536)
      const push = (): void => {
        while (sent < 200_000_000) {
          sent += chunk.length
          if (!response.write(chunk)) {
            response.once("drain", push)
            return
          }
        }
        response.end()
      }
      push()
    })
    const edge = await startTestEdge(upstream.port)
    const socket = await openTls(edge.port)
    socket.pause()
    socket.write(`GET /x HTTP/1.1\r\n${HOST}\r\n\r\n`)
    const readSettled = async (before: number): Promise<number> => {
      await new Promise((resolve) => setTimeout(resolve, 150))
      return sent > 0 && sent === before ? sent : readSettled(sent)
    }
    expect(await readSettled(-1)).toBeLessThan(50_000_000)
  })

  test("a Worker that stops reading holds the caller back", async () => {
    const port = await startRawUpstream((socket) => socket.pause())
    const edge = await startTestEdge(port)
    const socket = await openTls(edge.port)
    socket.write(`PUT /x HTTP/1.1\r\n${HOST}\r\nContent-Length: 200000000\r\n\r\n`)
    const chunk = Buffer.alloc(65_536)
    let written = 0
    const push = (): void => {
      while (written < 200_000_000) {
        written += chunk.length
        if (!socket.write(chunk)) {
          socket.once("drain", push)
          return
        }
      }
    }
    push()
    const readSettled = async (before: number): Promise<number> => {
      await new Promise((resolve) => setTimeout(resolve, 150))
      return written === before ? written : readSettled(written)
    }
    expect(await readSettled(-1)).toBeLessThan(50_000_000)
  })

  test("EXP-01 an early refusal by the Worker comes without 100", async () => {
    const port = await startRawUpstream((socket) => {
      socket.once("data", () => socket.write("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"))
    })
    const edge = await startTestEdge(port)
    const answer = await send(edge, `POST /x HTTP/1.1\n${HOST}\nExpect: 100-continue\nContent-Length: 5\n\n`)
    expect(answer.statuses).toEqual([401])
  })

  test("EXP-01 an announced body is asked for when the Worker waits for it", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const socket = await openTls(edge.port)
    const interim = await exchange(
      socket,
      `POST /x HTTP/1.1\r\n${HOST}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
      100,
    )
    expect(interim.text).toBe("HTTP/1.1 100 Continue\r\n\r\n")
    const answer = await exchange(socket, "hello", 100)
    expect([answer.statuses, answer.body]).toEqual([[200], "hello"])
  })
})

describe("a side that breaks", () => {
  test("a Worker that refuses connections is answered 503 with Retry-After", async () => {
    const upstream = await startUpstream()
    await upstream.close()
    const edge = await startTestEdge(upstream.port)
    const answer = await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)
    expect([answer.statuses, codeOf(answer), answer.headers.get("retry-after")]).toEqual([
      [503],
      "service-unavailable",
      "1",
    ])
  })

  test("a Worker that closes without an answer is answered 502 without Retry-After", async () => {
    const port = await startRawUpstream((socket) => socket.once("data", () => socket.destroy()))
    const edge = await startTestEdge(port)
    const answer = await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)
    expect([answer.statuses, codeOf(answer), answer.headers.has("retry-after")]).toEqual([
      [502],
      "service-unavailable",
      false,
    ])
    expect(JSON.parse(answer.body)).toMatchObject({ status: 502 })
  })

  test("a Worker that never answers is answered 502 at the deadline", async () => {
    const port = await startRawUpstream(() => {})
    const edge = await startTestEdge(port, { timeouts: { workerMs: 60 } })
    expect((await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)).statuses).toEqual([502])
  })

  test.each([
    ["no HTTP", "nonsense\r\n\r\n"],
    ["ambiguous framing", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["an unasked switch of protocols", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nraw"],
  ])("%s from the Worker is answered 502", async (_, octets) => {
    const port = await startRawUpstream((socket) => socket.once("data", () => socket.end(octets)))
    const edge = await startTestEdge(port)
    expect((await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)).statuses).toEqual([502])
  })

  test.each([
    ["Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial"],
    ["chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n"],
  ])("FRM-01 an answer cut short under %s does not look complete", async (_, octets) => {
    const port = await startRawUpstream((socket) => socket.once("data", () => socket.end(octets)))
    const edge = await startTestEdge(port)
    const answer = await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)
    expect([answer.statuses, answer.isClosed]).toEqual([[200], true])
    expect(answer.text).not.toMatch(/\r\n0\r\n\r\n$/)
  })

  test("a caller that leaves while it waits takes its request with it", async () => {
    let isGone: (value: boolean) => void
    const gone = new Promise<boolean>((resolve) => (isGone = resolve))
    const port = await startRawUpstream((socket) => {
      socket.once("data", () => client.destroy())
      socket.once("close", () => isGone(true))
    })
    const edge = await startTestEdge(port)
    const client = await openTls(edge.port)
    client.write(`GET /x HTTP/1.1\r\n${HOST}\r\n\r\n`)
    expect(await gone).toBe(true)
  })

  test("a caller that leaves in the middle of its body leaves the Worker a broken one", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const client = await openTls(edge.port)
    client.write(`POST /x HTTP/1.1\r\n${HOST}\r\nContent-Length: 100\r\n\r\nhalf`)
    await new Promise((resolve) => setTimeout(resolve, 50))
    client.destroy()
    await expect.poll(() => upstream.requests[0]?.isComplete).toBe(false)
  })

  test("the Worker's connection is used again", async () => {
    let connections = 0
    const port = await startRawUpstream((socket) => {
      connections++
      socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    })
    const edge = await startTestEdge(port)
    for (let i = 0; i < 3; i++) await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)
    expect(connections).toBe(1)
  })

  test.each([
    [
      "a second answer",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
    ],
    ["a word on closing", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfirst"],
  ])("FRM-01 a connection of the Worker's with %s carries no other request", async (_, octets) => {
    let connections = 0
    const port = await startRawUpstream((socket) => {
      const answer = ++connections === 1 ? octets : "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"
      socket.on("data", () => socket.write(answer))
    })
    const edge = await startTestEdge(port)
    const bodies = [await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`), await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)]
    expect([bodies.map(({ body }) => body), connections]).toEqual([["first", "second"], 2])
  })

  test("FRM-01 an answer that arrives while nobody waits is nobody's", async () => {
    let connections = 0
    const early = Promise.withResolvers<Socket>()
    const port = await startRawUpstream((socket) => {
      const body = ++connections === 1 ? "first" : "other"
      socket.on("data", () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n${body}`))
      early.resolve(socket)
    })
    const edge = await startTestEdge(port)
    await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)
    const socket = await early.promise
    const closed = once(socket, "close")
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
    await closed
    expect((await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)).body).toBe("other")
  })

  test("FRM-01 an answer before the end of a body ends the Worker's connection: the rest is no request", async () => {
    const seen: string[] = []
    const port = await startRawUpstream((socket) => {
      let octets = ""
      socket.on("data", (chunk: Buffer) => {
        octets += chunk.toString("latin1")
        if (octets.includes("\r\n\r\nhalf")) socket.write("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        else if (octets.includes("GET /next")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
      })
      socket.on("close", () => seen.push(octets))
    })
    const edge = await startTestEdge(port)
    const first = await send(edge, `POST /x HTTP/1.1\n${HOST}\nContent-Length: 100\n\nhalf`)
    expect([first.statuses, first.headers.get("connection")]).toEqual([[413], "close"])
    expect((await send(edge, `GET /next HTTP/1.1\n${HOST}\n\n`)).statuses).toEqual([200])
    expect(seen.map((octets) => octets.slice(0, 7))).toEqual(["POST /x"])
  })

  test("close() lets an exchange in flight finish and refuses new connections", async () => {
    let release = (): void => {}
    const upstream = await startUpstream((_, response) => {
      release = () => response.end("done")
    })
    const edge = await startTestEdge(upstream.port, { timeouts: { closeMs: 5_000 } })
    const socket = await openTls(edge.port)
    const answered = exchange(socket, `GET /x HTTP/1.1\r\n${HOST}\r\n\r\n`, 1_000)
    await expect.poll(() => upstream.requests.length).toBe(1)
    const closed = edge.close()
    await expect(openTls(edge.port)).rejects.toThrow("ECONNREFUSED")
    release()
    const answer = await answered
    expect([answer.statuses, answer.body.includes("done"), answer.isClosed]).toEqual([[200], true, true])
    await closed
  })

  test("close() ends what does not finish in time", async () => {
    const port = await startRawUpstream(() => {})
    const edge = await startTestEdge(port, { timeouts: { closeMs: 50 } })
    const socket = await openTls(edge.port)
    const answered = exchange(socket, `GET /x HTTP/1.1\r\n${HOST}\r\n\r\n`, 1_000)
    await edge.close()
    expect((await answered).isClosed).toBe(true)
  })
})
