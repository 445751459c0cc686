/**
 * HTTP/1.1 as octets, for tests that compare or break messages: an origin that records every octet of a request and answers
 * with octets of the test's own, callers over TCP and TLS, and a reader of answers that hides nothing.
 *
 * Written against RFC 9112 and used on both sides of the gateway, so that no HTTP library repairs what a test is about.
 */
import { createServer, connect as connectTcp, type AddressInfo, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import type { Certificate, Road } from "./road.ts"

/** A field line: name as sent, value without the white space around it. */
export type Line = readonly [name: string, value: string]

/** A request as an origin received it. */
export interface RawRequest {
  readonly method: string
  readonly target: string
  readonly fields: readonly Line[]
  /** Without its chunks. */
  readonly body: Buffer
  readonly trailers: readonly Line[]
}

/** An answer as a caller received it. */
export interface RawAnswer {
  /** Statuses of the answers before the final one. */
  readonly interim: readonly number[]
  /** 0 when no final answer began. */
  readonly status: number
  readonly reason: string
  readonly fields: readonly Line[]
  /** Without its chunks. */
  readonly body: Buffer
  /** False when less came than was announced. */
  readonly isComplete: boolean
  /** Octets behind the end of the answer. */
  readonly excess: Buffer
  /** The `code` of a problem; undefined for everything else. */
  readonly code: string | undefined
  /** True when the other side ended the connection. */
  readonly isClosed: boolean
}

/** Returns the values of a field, in the order of their lines. */
export function valuesOf(fields: readonly Line[], name: string): readonly string[] {
  return fields.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value)
}

/** Returns the octets of a text of one octet per character, or octets as they are. */
export const octets = (text: string | Buffer): Buffer => (typeof text === "string" ? Buffer.from(text, "latin1") : text)

/** An origin of octets. */
export interface RawOrigin {
  readonly port: number
  readonly url: string
  /** In the order of arrival. */
  readonly requests: RawRequest[]
  /** Connections that were opened so far. */
  readonly connections: () => number
  /** What happens once a request is whole. */
  serve: (request: RawRequest, socket: Socket) => void
  close(): Promise<void>
}

/** What an origin answers when no test says otherwise; the connection stays. */
export const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"

/** Starts an origin that keeps its connections unless `serve` ends them. */
export async function startRawOrigin(): Promise<RawOrigin> {
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createServer((socket) => {
    connections += 1
    sockets.add(socket)
    let pending = Buffer.alloc(0)
    socket.on("error", () => {})
    socket.on("close", () => sockets.delete(socket))
    socket.on("data", (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk])
      for (let read = readRequest(pending); read !== undefined; read = readRequest(pending)) {
        pending = pending.subarray(read.length)
        origin.requests.push(read.request)
        origin.serve(read.request, socket)
      }
    })
  })
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  const { port } = server.address() as AddressInfo
  const origin: RawOrigin = {
    port,
    url: `http://127.0.0.1:${port}`,
    requests: [],
    connections: () => connections,
    serve: (_, socket) => void socket.write(OK),
    async close() {
      const closed = new Promise((done) => server.close(done))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
  return origin
}

/** Sends octets straight to an origin and reads until the connection ends. */
export function sendTcp(port: number, message: string | Buffer): Promise<RawAnswer> {
  return converse(connectTcp({ host: "127.0.0.1", port }), message)
}

/** How a caller behaves that is not patient and silent. */
export interface Manners {
  readonly as?: Certificate
  readonly servername?: string
  /** Leave once an answer is whole, or nothing has come for so long. By default the end of the connection is awaited. */
  readonly idleMs?: number
  /** Leave as soon as this has happened. */
  readonly until?: Promise<unknown>
}

/** Sends octets through the gateway and reads until the connection ends. */
export async function sendTls(road: Road, message: string | Buffer, manners: Manners = {}): Promise<RawAnswer> {
  const { as = "acme", servername = "localhost", idleMs, until } = manners
  const identity = await road.identity(as)
  const socket = connectTls({ ...identity, host: "127.0.0.1", servername, port: road.port })
  void until?.then(() => socket.destroy())
  return converse(socket, message, idleMs)
}

function converse(socket: Socket, message: string | Buffer, idleMs?: number): Promise<RawAnswer> {
  return new Promise((done) => {
    const chunks: Buffer[] = []
    let hasLeft = false
    const leave = (): void => {
      hasLeft = true
      socket.destroy()
    }
    const isHead = octets(message).subarray(0, 5).toString() === "HEAD "
    if (idleMs !== undefined) socket.setTimeout(idleMs, leave)
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk)
      if (idleMs !== undefined && isOver(readAnswer(Buffer.concat(chunks), isHead)))
        socket.setTimeout(CLOSE_MOMENT_MS, leave)
    })
    // A reset is an end as well: what came before it is looked at.
    socket.on("error", () => {})
    socket.on("close", () => done({ ...readAnswer(Buffer.concat(chunks), isHead), isClosed: !hasLeft }))
    socket.write(octets(message))
  })
}

/** How long a whole answer waits for the end of its connection, in ms. */
const CLOSE_MOMENT_MS = 50

/** Returns true when an answer shows by itself that nothing more belongs to it. */
function isOver({ status, fields, isComplete }: Omit<RawAnswer, "isClosed">): boolean {
  const isDelimited = fields.some(([name]) => /^(?:content-length|transfer-encoding)$/i.test(name))
  return status > 0 && isComplete && (isDelimited || status === 204 || status === 304 || status === 101)
}

/** Reads everything that came on a connection as one answer. */
function readAnswer(received: Buffer, isHead: boolean): Omit<RawAnswer, "isClosed"> {
  const interim: number[] = []
  let rest = received
  for (;;) {
    const end = rest.indexOf("\r\n\r\n")
    const head = rest.subarray(0, Math.max(end, 0)).toString("latin1")
    const [, status = "0", reason = ""] = /^HTTP\/1\.1 ([0-9]{3}) ?([^\r\n]*)/.exec(head) ?? []
    const none = { interim, fields: [], body: rest, isComplete: false, excess: Buffer.alloc(0), code: undefined }
    if (status === "0") return { ...none, status: 0, reason }
    rest = rest.subarray(end + 4)
    if (status.startsWith("1") && status !== "101") {
      interim.push(Number(status))
      continue
    }
    const fields = readLines(head.split("\r\n").slice(1))
    const content = readContent(rest, fields, isHead || status === "204" || status === "304" || status === "101")
    const { body } = content
    return { interim, status: Number(status), reason, fields, ...content, code: readCode(body) }
  }
}

function readContent(rest: Buffer, fields: readonly Line[], isNone: boolean) {
  if (isNone) return { body: Buffer.alloc(0), isComplete: true, excess: rest }
  if (valuesOf(fields, "transfer-encoding").join() === "chunked") {
    const chunked = readChunks(rest)
    return { body: chunked.body, isComplete: chunked.isComplete, excess: rest.subarray(chunked.length) }
  }
  const [length] = valuesOf(fields, "content-length")
  if (length === undefined) return { body: rest, isComplete: true, excess: Buffer.alloc(0) }
  const body = rest.subarray(0, Number(length))
  return { body, isComplete: body.length === Number(length), excess: rest.subarray(Number(length)) }
}

function readRequest(received: Buffer): { readonly request: RawRequest; readonly length: number } | undefined {
  const end = received.indexOf("\r\n\r\n")
  if (end < 0) return undefined
  const [line = "", ...lines] = received.subarray(0, end).toString("latin1").split("\r\n")
  const [method = "", target = ""] = line.split(" ")
  const fields = readLines(lines)
  const rest = received.subarray(end + 4)
  if (valuesOf(fields, "transfer-encoding").length > 0) {
    const { body, isComplete, length, trailers } = readChunks(rest)
    return isComplete ? { request: { method, target, fields, body, trailers }, length: end + 4 + length } : undefined
  }
  const length = Number(valuesOf(fields, "content-length")[0] ?? 0)
  if (rest.length < length) return undefined
  const body = rest.subarray(0, length)
  return { request: { method, target, fields, body, trailers: [] }, length: end + 4 + length }
}

function readChunks(received: Buffer) {
  const parts: Buffer[] = []
  let at = 0
  for (;;) {
    const end = received.indexOf("\r\n", at)
    const size = Number.parseInt(received.subarray(at, Math.max(end, at)).toString("latin1"), 16)
    const unfinished = { body: Buffer.concat(parts), isComplete: false, length: received.length, trailers: [] }
    if (end < 0 || Number.isNaN(size)) return unfinished
    if (size === 0) {
      const isBare = received.subarray(end, end + 4).toString() === "\r\n\r\n"
      const last = isBare ? end : received.indexOf("\r\n\r\n", end)
      if (last < 0) return unfinished
      const lines = received
        .subarray(Math.min(end + 2, last), last)
        .toString("latin1")
        .split("\r\n")
      const trailers = isBare ? [] : readLines(lines)
      return { body: Buffer.concat(parts), isComplete: true, length: last + 4, trailers }
    }
    parts.push(received.subarray(end + 2, end + 2 + size))
    at = end + 2 + size + 2
    if (received.length < at) return { ...unfinished, body: Buffer.concat(parts) }
  }
}

function readLines(lines: readonly string[]): readonly Line[] {
  return lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()] as const)
}

function readCode(body: Buffer): string | undefined {
  try {
    return (JSON.parse(body.toString()) as { readonly code?: string } | null)?.code
  } catch {
    return undefined
  }
}
