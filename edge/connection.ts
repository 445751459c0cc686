/**
 * One TLS connection after its handshake: who is at the other end, and in which order its requests run.
 *
 * Requests run one at a time, and none behind one that ends the connection. Node hands out pipelined requests as fast as
 * it parses them; started together they would multiply one caller's parallelism, and a request behind a refused one
 * could be the smuggled half of it.
 *
 * @see RFC 9112 §9.3.2
 */
import type { ServerResponse } from "node:http"
import type { TLSSocket } from "node:tls"
import { formatIpAddress, parseIpAddress } from "../src/core/message/ip-address.ts"
import type { TlsClientAuth } from "../src/core/certificate/platform-certificate.ts"
import { writeDetails, type ConnectionDetails, type WrittenDetails } from "./assertion.ts"
import { PIPELINED_REQUESTS_MAX } from "./options.ts"
import { readPeer, type Peer } from "./tls-client-auth.ts"
import type { Trust } from "./trust.ts"

/** A connection and its queue. */
export class Connection {
  readonly peer: Peer
  readonly clientAddress: string
  /** Host of the handshake in its one spelling; undefined when the client named none. */
  readonly serverName: string | undefined
  readonly tlsVersion: string
  readonly tlsCipher: string
  /** Stops the exchange in progress before its response has started. */
  abandon: () => void = () => {}
  /** True from the first octet of a refusal by the edge on; it is complete whatever else arrives. */
  isRefusing = false
  readonly #socket: TLSSocket
  readonly #waiting: { readonly response: ServerResponse; readonly start: () => void }[] = []
  #current: ServerResponse | undefined
  #isEnding = false
  #written:
    | { readonly auth: TlsClientAuth; readonly httpProtocol: string; readonly details: WrittenDetails }
    | undefined

  constructor(socket: TLSSocket, trust: Trust, clientAddress: string, serverName: string | undefined) {
    this.#socket = socket
    this.peer = readPeer(socket, trust)
    this.clientAddress = clientAddress
    this.serverName = serverName
    this.tlsVersion = socket.getProtocol() ?? ""
    this.tlsCipher = formatCipher(socket.getCipher().name)
  }

  /** The response in progress. */
  get current(): ServerResponse | undefined {
    return this.#current?.writableFinished === true ? undefined : this.#current
  }

  /** True when the response in progress is the last one of the connection. */
  get isLast(): boolean {
    return this.#isEnding && this.#waiting.length === 0
  }

  /** Returns what the edge vouches for about this connection. Written once for as long as the facts are the same object. */
  describe(auth: TlsClientAuth, httpProtocol: string): WrittenDetails {
    if (this.#written?.auth !== auth || this.#written.httpProtocol !== httpProtocol) {
      this.#written = { auth, httpProtocol, details: writeDetails(this.detailsOf(auth, httpProtocol)) }
    }
    return this.#written.details
  }

  /** Returns the details of the connection, to be written with more beside them. */
  detailsOf(auth: TlsClientAuth, httpProtocol: string): ConnectionDetails {
    const { tlsCipher, tlsVersion } = this
    return { tlsClientAuth: auth, tlsVersion, tlsCipher, httpProtocol, clientTcpRtt: 0 }
  }

  /** Starts an exchange when those before it are over. One that arrives behind the last is forgotten with its connection. */
  enqueue(response: ServerResponse, start: () => void): void {
    if (this.#isEnding) return
    this.#waiting.push({ response, start })
    if (this.#waiting.length === PIPELINED_REQUESTS_MAX) this.#isEnding = true
    if (this.#current === undefined) this.#next()
  }

  /** Lets the response in progress be the last, or ends the connection when there is none. */
  end(): void {
    this.#isEnding = true
    this.#waiting.length = 0
    if (this.#current === undefined) this.#socket.destroySoon()
  }

  #next(): void {
    const entry = this.#waiting.shift()
    this.#current = entry?.response
    this.abandon = () => {}
    this.isRefusing = false
    if (entry !== undefined) {
      entry.response.once("close", () => this.#next())
      entry.start()
    } else if (this.#isEnding) this.#socket.destroySoon()
  }
}

/** Returns the address in canonical text, IPv4-mapped IPv6 as IPv4; undefined once the socket has none. */
export function readAddress(text: string | undefined): string | undefined {
  const address = parseIpAddress((text ?? "").replace(/%.*$/, ""))
  return address === undefined ? undefined : formatIpAddress(address)
}

const TLS13_SUITES: Readonly<Record<string, string>> = {
  TLS_AES_128_GCM_SHA256: "AEAD-AES128-GCM-SHA256",
  TLS_AES_256_GCM_SHA384: "AEAD-AES256-GCM-SHA384",
  TLS_CHACHA20_POLY1305_SHA256: "AEAD-CHACHA20-POLY1305-SHA256",
}

/** Cloudflare prints the suites of TLS 1.3 in BoringSSL's spelling and the older ones as OpenSSL does. */
function formatCipher(name: string): string {
  return TLS13_SUITES[name] ?? name
}
