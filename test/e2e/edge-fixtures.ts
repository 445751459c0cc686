/**
 * What the edge's tests stand on: a PKI made in memory, a recording upstream in the Worker's place, a running edge, and
 * a raw TLS client that shows answers as they came over the wire.
 */
import "../../cli/pki/reflection.ts"
import { createHmac, randomBytes, webcrypto } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { connect as connectTcp, type AddressInfo, type Socket } from "node:net"
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls"
import * as x509 from "@peculiar/x509"
import { onTestFinished } from "vitest"
import type { Edge, EdgeEvent, EdgeOptions } from "../../edge/options.ts"
import { startEdge } from "../../edge/server.ts"
import type { TlsClientAuth } from "../../src/core/certificate/platform-certificate.ts"

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const
const HOUR_MS = 3_600_000
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"

/** A CA and what it can make. */
export interface TestCa {
  readonly certificate: x509.X509Certificate
  readonly keys: webcrypto.CryptoKeyPair
  readonly pem: string
}

/** A leaf or intermediate with its key. `certPem` holds the whole chain that is sent. */
export interface TestPair {
  readonly certificate: x509.X509Certificate
  readonly keys: webcrypto.CryptoKeyPair
  readonly certPem: string
  readonly keyPem: string
}

export interface LeafOptions {
  readonly serial?: string
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly usages?: readonly string[]
  readonly names?: readonly { type: "url" | "dns"; value: string }[]
  readonly padding?: number
  readonly isCa?: boolean
}

export async function createCa(subject: string, isCa = true): Promise<TestCa> {
  const keys = await createKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: subject,
    notBefore: new Date(Date.now() - HOUR_MS),
    notAfter: new Date(Date.now() + 1_000 * HOUR_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(isCa, isCa ? 3 : undefined, true),
      ...(isCa ? [new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true)] : []),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate, keys, pem: certificate.toString("pem") }
}

export async function createLeaf(
  issuer: Pick<TestCa, "certificate" | "keys">,
  subject: string,
  options: LeafOptions = {},
): Promise<TestPair> {
  const keys = await createKeys()
  const { usages = [CLIENT_AUTH], names = [], padding = 0, isCa = false } = options
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: options.serial ?? randomSerial(),
    subject,
    issuer: issuer.certificate.subject,
    notBefore: options.notBefore ?? new Date(Date.now() - HOUR_MS),
    notAfter: options.notAfter ?? new Date(Date.now() + 100 * HOUR_MS),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: issuer.keys.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(isCa, undefined, true),
      ...(isCa ? [new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true)] : []),
      ...(usages.length === 0 || isCa ? [] : [new x509.ExtendedKeyUsageExtension([...usages])]),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension([...names])]),
      ...(padding === 0 ? [] : [new x509.Extension("1.3.6.1.4.1.55555.1", false, new Uint8Array([4, 0]).buffer)]),
      ...(padding === 0 ? [] : [paddingExtension(padding)]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey),
    ],
  })
  const pkcs8 = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)
  return {
    certificate,
    keys,
    certPem: certificate.toString("pem"),
    keyPem: x509.PemConverter.encode(pkcs8, "PRIVATE KEY"),
  }
}

function paddingExtension(octets: number): x509.Extension {
  const value = Buffer.concat([Buffer.from([0x04, 0x82, octets >> 8, octets & 255]), Buffer.alloc(octets)])
  return new x509.Extension("1.3.6.1.4.1.55555.2", false, value)
}

export interface CrlOptions {
  readonly thisUpdate?: Date
  readonly nextUpdate?: Date
  readonly extensions?: x509.Extension[]
}

export async function createCrl(
  ca: Pick<TestCa, "certificate" | "keys">,
  serials: readonly string[],
  options: CrlOptions = {},
): Promise<string> {
  const crl = await x509.X509CrlGenerator.create({
    issuer: ca.certificate.subject,
    thisUpdate: options.thisUpdate ?? new Date(Date.now() - HOUR_MS),
    nextUpdate: options.nextUpdate ?? new Date(Date.now() + HOUR_MS),
    signingAlgorithm: ALGORITHM,
    signingKey: ca.keys.privateKey,
    entries: serials.map((serialNumber) => ({ serialNumber, revocationDate: new Date(Date.now() - HOUR_MS) })),
    extensions: options.extensions ?? [],
  })
  return crl.toString("pem")
}

async function createKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"])
}

function randomSerial(): string {
  return `5${randomBytes(8).toString("hex").slice(1)}`
}

/** The certificates that most tests share: made once per file, never written anywhere. */
export interface TestPki {
  readonly caA: TestCa
  readonly caB: TestCa
  readonly server: TestPair
  readonly clientA: TestPair
}

let shared: Promise<TestPki> | undefined
export function sharedPki(): Promise<TestPki> {
  shared ??= (async () => {
    const [caA, caB] = [await createCa("C=JP,O=Test A,CN=CA A"), await createCa("C=JP,O=Test B,CN=CA B")]
    const server = await createLeaf(caA, "CN=gw.test", {
      usages: ["1.3.6.1.5.5.7.3.1"],
      names: [{ type: "dns", value: "gw.test" }],
    })
    const names = [{ type: "url", value: "spiffe://acme/acme-a" }] as const
    return { caA, caB, server, clientA: await createLeaf(caA, "C=JP,O=Acme,CN=acme-a", { names }) }
  })()
  return shared
}

/** A request as the upstream received it. */
export interface Recorded {
  readonly method: string
  readonly target: string
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
  /** False when the body broke off. */
  readonly isComplete: boolean
}

export interface Upstream {
  readonly port: number
  readonly requests: Recorded[]
  readonly close: () => Promise<void>
}

/** Starts a server that records every request and answers with `respond`, by default 200 and the body it got. */
export async function startUpstream(
  respond: (request: IncomingMessage, response: ServerResponse, body: Buffer) => void = (_, response, body) =>
    response.end(body),
): Promise<Upstream> {
  const requests: Recorded[] = []
  const server = createServer({ insecureHTTPParser: true, maxHeaderSize: 200_000 }, (request, response) => {
    const chunks: Buffer[] = []
    const record = (isComplete: boolean): Buffer => {
      const body = Buffer.concat(chunks)
      const { method = "", url = "", rawHeaders } = request
      requests.push({ method, target: url, rawHeaders, body, isComplete })
      return body
    }
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => respond(request, response, record(true)))
    request.on("error", () => record(false))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  onTestFinished(close)
  return { port: (server.address() as AddressInfo).port, requests, close }
}

export const ASSERTION_KEY = Buffer.alloc(32, 7)

export interface TestEdge extends Edge {
  readonly events: EdgeEvent[]
}

/** Starts an edge for `gw.test`, `a.test` and `b.test` with CA A, closed when the test ends. */
export async function startTestEdge(workerPort: number, options: Partial<EdgeOptions> = {}): Promise<TestEdge> {
  const { caA, server } = await sharedPki()
  const events: EdgeEvent[] = []
  const edge = await startEdge({
    port: 0,
    certificate: server.certPem,
    privateKey: server.keyPem,
    clientCas: caA.pem,
    crls: [],
    hosts: ["gw.test", "a.test", "b.test"],
    worker: { hostname: "127.0.0.1", port: workerPort },
    assertionKey: ASSERTION_KEY,
    onEvent: (event) => events.push(event),
    ...options,
    timeouts: { closeMs: 200, lingerMs: 60, ...options.timeouts },
  })
  onTestFinished(() => edge.close())
  return { ...edge, events }
}

/** Opens a TLS connection to the edge; resolves once the handshake is done, rejects when it fails. */
export function openTls(
  port: number,
  options: ConnectionOptions & { pair?: TestPair | undefined } = {},
): Promise<TLSSocket> {
  const { pair, ...rest } = options
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: "127.0.0.1",
      port,
      servername: "gw.test",
      rejectUnauthorized: false,
      ...(pair === undefined ? {} : { cert: pair.certPem, key: pair.keyPem }),
      ...rest,
    })
    socket.once("secureConnect", () => resolve(socket))
    socket.once("error", reject)
    onTestFinished(() => void socket.destroy())
  })
}

/** An answer as it came: everything until the connection closed or fell silent. */
export interface Answer {
  readonly text: string
  readonly statuses: readonly number[]
  readonly isClosed: boolean
  /** Header fields of the first final response, lower-case names. */
  readonly headers: ReadonlyMap<string, string>
  /** What stands behind the first header section. */
  readonly body: string
}

/** Writes octets and reads until the connection closes or nothing arrives for `idleMs`. */
export function exchange(socket: Socket, octets: string | Buffer, idleMs = 300): Promise<Answer> {
  return new Promise((resolve) => {
    let text = ""
    let timer: NodeJS.Timeout
    const finish = (isClosed: boolean): void => {
      clearTimeout(timer)
      resolve(parseAnswer(text, isClosed))
    }
    const restart = (): void => {
      clearTimeout(timer)
      timer = setTimeout(() => finish(false), text === "" ? 10 * idleMs : idleMs)
    }
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1")
      restart()
    })
    socket.on("error", () => {})
    socket.once("close", () => finish(true))
    restart()
    socket.write(typeof octets === "string" ? Buffer.from(octets, "latin1") : octets)
  })
}

function parseAnswer(text: string, isClosed: boolean): Answer {
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
  const final = text.replace(/^(?:HTTP\/1\.1 1\d\d [^]*?\r\n\r\n)+/, "")
  const [head = "", ...rest] = final.split("\r\n\r\n")
  const headers = new Map(
    head
      .split("\r\n")
      .slice(1)
      .map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  )
  return { text, statuses, isClosed, headers, body: rest.join("\r\n\r\n") }
}

/** One request on a fresh connection; `wire` has `\n` for CRLF unless it already holds a CR. */
export async function send(
  edge: Edge,
  wire: string,
  options: ConnectionOptions & { pair?: TestPair | undefined } = {},
): Promise<Answer> {
  const socket = await openTls(edge.port, options)
  const answer = await exchange(socket, wire.includes("\r") ? wire : wire.replaceAll("\n", "\r\n"), 100)
  socket.destroy()
  return answer
}

/** Returns the `code` of a problem answer. */
export function codeOf(answer: Answer): string | undefined {
  try {
    return (JSON.parse(answer.body) as { code?: string }).code
  } catch {
    return undefined
  }
}

/** Returns the values of a field, in order. */
export function valuesOf(request: Recorded | undefined, name: string): readonly string[] {
  const values: string[] = []
  for (let i = 0; i < (request?.rawHeaders.length ?? 0); i += 2) {
    if (request?.rawHeaders[i]?.toLowerCase() === name.toLowerCase()) values.push(request.rawHeaders[i + 1] ?? "")
  }
  return values
}

/** The header field that becomes `request.cf`. */
export interface Blob {
  readonly tlsClientAuth: TlsClientAuth
  readonly tlsVersion: string
  readonly tlsCipher: string
  readonly httpProtocol: string
  readonly edgeAssertion: { readonly rid: string; readonly exp: number; readonly mac: string }
}

export function blobOf(request: Recorded | undefined): Blob {
  return JSON.parse(valuesOf(request, "MF-CF-Blob")[0] ?? "null") as Blob
}

/** Computes the MAC of a recorded request anew, from nothing but what was on the wire. */
export function expectedMac(request: Recorded): string {
  const { edgeAssertion, ...cf } = blobOf(request)
  const lines = [
    "sekisho-edge-assertion/1",
    edgeAssertion.rid,
    String(edgeAssertion.exp),
    request.method,
    valuesOf(request, "host")[0],
    request.target,
    valuesOf(request, "cf-connecting-ip")[0],
    JSON.stringify(cf),
  ]
  return createHmac("sha256", ASSERTION_KEY).update(lines.join("\n")).digest("hex")
}

/** A TCP relay before the edge whose `reframe` rewrites what the client sends first. */
export async function startRelay(
  port: number,
  reframe: (hello: Buffer) => readonly Buffer[],
  delayMs = 0,
): Promise<number> {
  const { createServer: createTcpServer } = await import("node:net")
  const relay = createTcpServer({ noDelay: true }, (client) => {
    const upstream = connectTcp({ port, host: "127.0.0.1", noDelay: true })
    client.on("error", () => upstream.destroy())
    upstream.on("error", () => client.destroy())
    upstream.pipe(client)
    let hello = Buffer.alloc(0)
    const onData = (chunk: Buffer): void => {
      hello = Buffer.concat([hello, chunk])
      if (hello.length < 5 || hello.length < 5 + hello.readUInt16BE(3)) return
      client.off("data", onData)
      client.pause()
      const parts = reframe(hello)
      void (async () => {
        for (const part of parts) {
          upstream.write(part)
          if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs))
        }
        client.pipe(upstream)
      })()
    }
    client.on("data", onData)
  })
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve))
  onTestFinished(() => void relay.close())
  return (relay.address() as AddressInfo).port
}
