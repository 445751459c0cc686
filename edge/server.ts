/**
 * The local TLS edge: it stands where Cloudflare's edge stands in production, on the caller's own machine.
 *
 * It ends TLS, asks every caller for a client certificate, refuses what HTTP/1.1 readers could read in two ways, and
 * hands the rest to the Worker on loopback together with connection details that nobody else can sign. Whether a
 * certificate is needed, and for what, is the Worker's decision. This file wires the parts; the rules are in them.
 */
import { createSecretKey } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import { createServer } from "node:https"
import type { AddressInfo, Socket } from "node:net"
import type { TLSSocket } from "node:tls"
import { HEADER_BYTES_MAX, RETRY_AFTER_SECONDS_DEFAULT, TARGET_BYTES_MAX } from "../src/core/bounds.ts"
import { HOST_NOT_SERVED } from "../src/core/metric/edge-metrics.ts"
import type { ProblemCode } from "../src/core/problem.ts"
import { mintRequestId } from "../src/core/message/request-id.ts"
import { METHODS } from "../src/core/route/route.ts"
import { ASSERTION_KEY_BYTES, formatBlob, writeDetails } from "./assertion.ts"
import { Connection, readAddress } from "./connection.ts"
import { KEEP_ALIVE_FIELDS, requestFields, UPGRADE_FIELDS } from "./fields.ts"
import { endAfterBody, forward } from "./forward.ts"
import { isHandshake, readHandshake, type Handshake } from "./handshake.ts"
import { createEdgeTally } from "./metrics.ts"
import {
  ASSERTION_VALIDITY_MS,
  EDGE_CONNECTIONS_MAX,
  EDGE_TIMEOUTS,
  type Edge,
  type EdgeEvent,
  type EdgeOptions,
} from "./options.ts"
import { codeOfParserError, type ParserError } from "./parser-error.ts"
import { createRandomStock } from "./random-stock.ts"
import { createRefusal, formatRefusal, type Refusal, type RefusalOptions } from "./refusal.ts"
import { decideRequest } from "./request-grammar.ts"
import { findUncovered } from "./revocation.ts"
import { readServerName, readSettings, tlsOptions, type Settings } from "./settings.ts"
import { describePeer } from "./tls-client-auth.ts"
import type { Trust } from "./trust.ts"
import { createTunnels } from "./tunnel.ts"
import { createWorkerPool } from "./worker-pool.ts"

/**
 * Room for the longest header section and for a target beyond its bound, in octets: such a request is parsed, so that
 * it can be told which of the two was too long.
 */
const PARSER_BYTES_MAX = HEADER_BYTES_MAX + 2 * TARGET_BYTES_MAX
/** Characters of a target that an event carries. */
const EVENT_TARGET_LENGTH_MAX = 1_024
/** Fatal alert unrecognized_name in a record of its own. @see RFC 6066 §3, RFC 8446 §6 */
const UNRECOGNIZED_NAME = Buffer.from([21, 3, 3, 0, 2, 2, 112])

/**
 * Starts an edge and resolves when it listens. Rejects, and leaves nothing behind, when the certificate, the key, a CA, a
 * list or a host is unusable or the port is taken; the error says which and what to do.
 */
export async function startEdge(options: EdgeOptions): Promise<Edge> {
  if (options.assertionKey.length !== ASSERTION_KEY_BYTES) {
    throw new Error(
      `Cannot start the edge, the assertion key has ${options.assertionKey.length} octets: give it ${ASSERTION_KEY_BYTES}`,
    )
  }
  // Prepared once: a key of octets would be prepared anew for every request, which costs more than the MAC.
  const assertionKey = createSecretKey(options.assertionKey)
  const timeouts = { ...EDGE_TIMEOUTS, ...options.timeouts }
  const now = options.now ?? Date.now
  const randomBytes = options.randomBytes ?? createRandomStock()
  const emit = (event: EdgeEvent): void => {
    try {
      options.onEvent?.(event)
    } catch {
      // A listener that fails must not take the connection with it.
    }
  }
  let settings = readSettings(options)
  reportUncovered(settings)
  let isClosing = false
  const tally = createEdgeTally()
  const connections = new Map<Socket, Connection>()
  // By the client's address and port: Node does not tell which TLS socket runs on which TCP socket.
  const accepted = new Map<string, { readonly socket: Socket; readonly trust: Trust }>()
  const tunnels = createTunnels<Connection>()
  const pool = createWorkerPool()

  const server = createServer({
    ...tlsOptions(settings),
    requestCert: true,
    rejectUnauthorized: false,
    handshakeTimeout: timeouts.handshakeMs,
    ALPNProtocols: ["http/1.1"],
    // Called as a method of the TLSSocket; total, because an exception here ends the process (CVE-2026-21637).
    SNICallback(this: unknown, name: string, done: (error: Error | null) => void) {
      if (isServed(name)) return done(null)
      sendAlert(this)
      done(new Error(HOST_NOT_SERVED))
    },
    maxHeaderSize: PARSER_BYTES_MAX,
    insecureHTTPParser: false,
    requireHostHeader: false,
    headersTimeout: timeouts.headersMs,
    requestTimeout: Math.max(timeouts.requestMs, timeouts.headersMs),
    keepAliveTimeout: timeouts.keepAliveMs,
    connectionsCheckingInterval: Math.min(1_000, timeouts.headersMs),
    shouldUpgradeCallback: isHandshake,
  })
  // Node would drop the fields beyond its bound silently; this one counts them and refuses.
  server.maxHeadersCount = 0
  server.maxConnections = options.connectionsMax ?? EDGE_CONNECTIONS_MAX
  server.timeout = timeouts.idleMs

  server.on("connection", (socket: Socket) => {
    const origin = formatOrigin(socket)
    accepted.set(origin, { socket, trust: settings.trust })
    const close = tally.open()
    socket.once("close", () => {
      accepted.delete(origin)
      close()
    })
  })
  server.on("drop", () => {
    tally.drop()
    emit({ kind: "connection-dropped", reason: `more than ${server.maxConnections} connections` })
  })
  server.on("secureConnection", (socket: TLSSocket) => {
    const name = typeof socket.servername === "string" && socket.servername !== "" ? socket.servername : undefined
    const clientAddress = readAddress(socket.remoteAddress)
    if (isClosing || clientAddress === undefined || (name !== undefined && !isServed(name))) {
      socket.destroy()
      return
    }
    const trust = accepted.get(formatOrigin(socket))?.trust ?? settings.trust
    const serverName = name === undefined ? undefined : readServerName(name)
    connections.set(socket, new Connection(socket, trust, clientAddress, serverName))
    socket.once("close", () => connections.delete(socket))
  })
  server.on("tlsClientError", (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    const clientAddress = readAddress(socket.remoteAddress) ?? ""
    const reason = error.code ?? error.message
    tally.failHandshake(reason)
    emit({ kind: "tls-failed", clientAddress, reason })
  })
  server.on("request", (request, response) => accept(request, response, false))
  server.on("checkContinue", (request, response) => accept(request, response, true))
  // An expectation nobody knows is ignored, as RFC 9110 §10.1.1 allows; the field itself goes no further.
  server.on("checkExpectation", (request, response) => accept(request, response, false))
  server.on("upgrade", (request, socket, head) => {
    const tlsSocket = socket as TLSSocket
    const connection = connections.get(tlsSocket)
    // Node gives the socket away with the first of these: behind others that are not answered yet there is no place for it.
    if (connection === undefined || connection.current !== undefined) {
      if (connection === undefined) tlsSocket.destroy()
      else connection.end()
      return
    }
    const handshake = readHandshake(request, tlsSocket, head)
    accept(request, handshake.response, false, handshake)
  })
  server.on("connect", (request, socket) => {
    const connection = connections.get(socket as TLSSocket)
    if (connection?.current !== undefined) connection.end()
    else refuseOnSocket(socket as TLSSocket, "method-not-allowed", request.method ?? "", request.url ?? "")
  })
  server.on("clientError", (error: ParserError, socket) => {
    const tlsSocket = socket as TLSSocket
    const connection = connections.get(tlsSocket)
    const code = codeOfParserError(error)
    if (connection === undefined || code === undefined) {
      tlsSocket.destroy()
      return
    }
    const { current } = connection
    // Behind an answered request the fault is in the next one: the answer is finished, then the connection ends.
    if (current?.req.complete === true) connection.end()
    else if (connection.isRefusing) current?.end()
    else if (current?.headersSent === true) tlsSocket.destroy()
    else {
      connection.abandon()
      refuseOnSocket(tlsSocket, code, "", "")
    }
  })

  /** Ends the WebSockets of clients whose certificates hold no more. */
  function reviewTunnels(): void {
    tunnels.endUnless(({ peer }) => {
      const { auth } = describePeer(peer, settings.trust, now())
      return auth.certVerified === "SUCCESS" && auth.certRevoked !== "1"
    })
  }

  function accept(
    request: IncomingMessage,
    response: ServerResponse,
    isContinueExpected: boolean,
    handshake?: Handshake,
  ): void {
    const connection = connections.get(request.socket)
    if (connection === undefined) {
      request.socket.destroy()
      return
    }
    connection.enqueue(response, () => {
      try {
        handle(request, response, connection, isContinueExpected, handshake)
      } catch (error) {
        emit({ kind: "internal-error", reason: error instanceof Error ? error.message : "unknown" })
        if (response.headersSent) response.destroy()
        else refuse(request, response, connection, "internal-error", { isLast: true }, mintId())
      }
    })
  }

  function handle(
    request: IncomingMessage,
    response: ServerResponse,
    connection: Connection,
    isContinueExpected: boolean,
    handshake: Handshake | undefined,
  ): void {
    const requestId = mintId()
    const method = request.method ?? ""
    const target = request.url ?? ""
    const decision = decideRequest({ method, httpVersion: request.httpVersion, target, rawHeaders: request.rawHeaders })
    if (!decision.accepted) return refuse(request, response, connection, decision.code, { isLast: true }, requestId)
    const { host, hostField, framing, fields } = decision
    // What stands behind a request to switch protocols may be of the other protocol, and Node does not parse it on.
    if (fields.some(([name]) => name.toLowerCase() === "upgrade")) connection.end()
    const hasBody = framing !== "none"
    if (!settings.hosts.has(host) || (connection.serverName !== undefined && connection.serverName !== host)) {
      return refuse(request, response, connection, "misdirected-request", { isLast: hasBody }, requestId)
    }
    if (target === "*") {
      response.writeHead(204, ["Allow", METHODS.join(", "), "X-Request-Id", requestId])
      endAfterBody(request, response, hasBody, timeouts.lingerMs)
      return
    }
    const { clientAddress } = connection
    const nowMs = now()
    const { auth, revocation } = describePeer(connection.peer, settings.trust, nowMs)
    if (revocation?.status === "unavailable") {
      emit({ kind: "crl-unavailable", issuer: revocation.issuer, reason: revocation.reason })
    }
    const httpProtocol = `HTTP/${request.httpVersion}`
    const blob = formatBlob(
      settings.adminHosts.has(host)
        ? writeDetails({ ...connection.detailsOf(auth, httpProtocol), edgeMetrics: tally.report() })
        : connection.describe(auth, httpProtocol),
      { method, host: hostField, target, clientAddress },
      { rid: requestId, exp: nowMs + ASSERTION_VALIDITY_MS },
      assertionKey,
    )
    connection.abandon = forward({
      request,
      response,
      framing,
      isContinueExpected,
      worker: typeof options.worker === "function" ? options.worker() : options.worker,
      pool,
      fields: [
        ...requestFields(fields, framing, method, { clientAddress, blob }),
        ...(handshake === undefined ? KEEP_ALIVE_FIELDS : UPGRADE_FIELDS),
      ],
      timeouts,
      isLast: () => connection.isLast,
      onSwitch:
        handshake &&
        ((rawHeaders, worker, head) => {
          const socket = handshake.take(rawHeaders)
          if (socket !== undefined) return tunnels.open(connection, socket, worker, head)
          worker.resetAndDestroy()
          refuse(request, response, connection, "malformed-request", { isLast: true }, requestId)
        }),
      onFailure(reason, isSent) {
        emit({ kind: "worker-failed", requestId, reason })
        // A request that the Worker may have seen is not offered again: what it did is unknown.
        const retry = isSent ? { status: 502 } : { retryAfterSeconds: RETRY_AFTER_SECONDS_DEFAULT }
        refuse(request, response, connection, "service-unavailable", { ...retry, isLast: hasBody }, requestId)
      },
    })
  }

  function refuse(
    request: IncomingMessage,
    response: ServerResponse,
    connection: Connection,
    code: ProblemCode,
    refusalOptions: RefusalOptions,
    requestId: string,
  ): void {
    const isLast = refusalOptions.isLast || connection.isLast
    if (isLast) connection.end()
    connection.isRefusing = true
    const refusal = createRefusal(code, requestId, { ...refusalOptions, isLast })
    report(refusal, connection.clientAddress, request.method ?? "", request.url ?? "")
    response.writeHead(refusal.status, [...refusal.fields])
    if (request.method === "HEAD") response.flushHeaders()
    else response.write(refusal.body)
    endAfterBody(request, response, isLast && !request.complete, timeouts.lingerMs)
  }

  /** For requests that Node has no response for. The connection ends. */
  function refuseOnSocket(socket: TLSSocket, code: ProblemCode, method: string, target: string): void {
    const connection = connections.get(socket)
    if (connection === undefined || !socket.writable) {
      socket.destroy()
      return
    }
    connection.isRefusing = true
    const refusal = createRefusal(code, mintId(), { isLast: true })
    report(refusal, connection.clientAddress, method, target)
    socket.end(formatRefusal(refusal, now()))
    const timer = setTimeout(() => socket.destroy(), timeouts.lingerMs)
    socket.once("close", () => clearTimeout(timer))
    socket.resume()
  }

  function report(refusal: Refusal, clientAddress: string, method: string, target: string): void {
    const { requestId, code, status } = refusal
    tally.refuse(code)
    emit({
      kind: "refused",
      requestId,
      code,
      status,
      clientAddress,
      method,
      target: target.slice(0, EVENT_TARGET_LENGTH_MAX),
    })
  }

  function mintId(): string {
    return mintRequestId(now(), randomBytes(10))
  }

  function isServed(name: string): boolean {
    const serverName = readServerName(name)
    return serverName !== undefined && settings.hosts.has(serverName)
  }

  function reportUncovered({ trust }: Settings): void {
    if (trust.lists === undefined) return
    for (const { issuer, reason } of findUncovered(trust.lists, trust.cas, now()))
      emit({ kind: "crl-unavailable", issuer, reason })
  }

  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      pool.close()
      reject(error)
    })
    server.listen(options.port, options.host ?? "127.0.0.1", resolve)
  })
  server.on("error", (error) => emit({ kind: "internal-error", reason: error.message }))
  const review = setInterval(reviewTunnels, timeouts.tunnelReviewMs)
  review.unref()
  const bound = server.address() as AddressInfo

  return {
    port: bound.port,
    address: bound.address,
    reload(material) {
      try {
        const next = readSettings({ ...settings.material, ...material })
        server.setSecureContext(tlsOptions(next))
        settings = next
      } catch (error) {
        emit({ kind: "reload-failed", reason: error instanceof Error ? error.message : "unknown" })
        throw error
      }
      emit({ kind: "reloaded" })
      reportUncovered(settings)
      reviewTunnels()
    },
    async close() {
      isClosing = true
      clearInterval(review)
      tunnels.endAll()
      for (const connection of connections.values()) connection.end()
      const force = setTimeout(() => accepted.forEach(({ socket }) => socket.destroy()), timeouts.closeMs)
      await new Promise<void>((resolve) => server.close(() => resolve()))
      clearTimeout(force)
      pool.close()
    },
  }
}

function formatOrigin(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}

/**
 * Tells a client that its host name is not served. Node only closes the connection, and its TLS socket cannot send an alert
 * of our choosing, so the record goes to the socket below; where that is not found, closing has to do.
 */
function sendAlert(tlsSocket: unknown): void {
  try {
    ;(tlsSocket as { readonly _parent?: Socket })._parent?.write(UNRECOGNIZED_NAME)
  } catch {
    // The connection ends either way.
  }
}
