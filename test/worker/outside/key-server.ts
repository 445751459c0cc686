/**
 * The key sets of authorization servers, one a gateway under test, and the key pairs that tokens are signed with. What a
 * server answers with, and how it misbehaves, a test says before it asks.
 */
import type { webcrypto } from "node:crypto"
import { once } from "node:events"
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { TOKEN_KEY_NAMES, type KeyServerScript, type TokenKeyFixture, type TokenKeyName } from "../provided.ts"

/** A key server that runs. */
export interface KeyServer {
  readonly port: number
  /** How often a gateway has asked. */
  fetches(gateway: string): number
  /** Says what a gateway is answered from now on. */
  script(gateway: string, script: KeyServerScript): void
  close(): void
}

/** Starts the server on a free port. Paths are `/<gateway>`; without a script they are unknown. */
export async function startKeyServer(): Promise<KeyServer> {
  const scripts = new Map<string, KeyServerScript>()
  const counts = new Map<string, number>()
  const server = createServer((request, response) => {
    const name = (request.url ?? "").slice(1)
    counts.set(name, (counts.get(name) ?? 0) + 1)
    response.on("error", () => {})
    answer(response, scripts.get(name) ?? { status: 404 })
  })
  await once(server.listen(0, "127.0.0.1"), "listening")
  return {
    port: (server.address() as AddressInfo).port,
    fetches: (gateway) => counts.get(gateway) ?? 0,
    script: (gateway, script) => void scripts.set(gateway, script),
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

function answer(response: ServerResponse, script: KeyServerScript): void {
  const {
    body,
    contentType = "application/json",
    floodBytes,
    hangs,
    location,
    padBytes = 0,
    status = 200,
    text,
  } = script
  if (hangs === true) return
  response.writeHead(status, {
    "Content-Type": contentType,
    ...(location === undefined ? {} : { Location: location }),
  })
  if (floodBytes === undefined) response.end(text ?? JSON.stringify(body ?? null) + " ".repeat(padBytes))
  else flood(response, floodBytes)
}

function flood(response: ServerResponse, bytes: number): void {
  if (bytes <= 0 || response.destroyed) return void response.end()
  const chunk = " ".repeat(Math.min(bytes, 65_536))
  response.write(chunk, () => flood(response, bytes - chunk.length))
}

const ALGORITHMS: Readonly<
  Record<TokenKeyName, webcrypto.RsaHashedKeyGenParams | webcrypto.EcKeyGenParams | webcrypto.Algorithm>
> = {
  es256: { name: "ECDSA", namedCurve: "P-256" },
  "es256 two": { name: "ECDSA", namedCurve: "P-256" },
  other: { name: "ECDSA", namedCurve: "P-256" },
  eddsa: { name: "Ed25519" },
  ps256: rsa("RSA-PSS"),
  rs256: rsa("RSASSA-PKCS1-v1_5"),
}

function rsa(name: string): webcrypto.RsaHashedKeyGenParams {
  return { name, modulusLength: 2_048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" }
}

/** Makes a key pair for every name. */
export async function mintTokenKeys(): Promise<Readonly<Record<TokenKeyName, TokenKeyFixture>>> {
  const entries = await Promise.all(
    TOKEN_KEY_NAMES.map(async (name) => {
      const pair = (await crypto.subtle.generateKey(ALGORITHMS[name], true, [
        "sign",
        "verify",
      ])) as webcrypto.CryptoKeyPair
      return [name, { privateJwk: await exportJwk(pair.privateKey), publicJwk: await publicJwkOf(name, pair) }] as const
    }),
  )
  return Object.fromEntries(entries) as Record<TokenKeyName, TokenKeyFixture>
}

async function publicJwkOf(
  kid: string,
  { publicKey }: webcrypto.CryptoKeyPair,
): Promise<Readonly<Record<string, string>>> {
  return { ...(await exportJwk(publicKey)), kid, use: "sig" }
}

/** Returns the members that make up the key itself. */
async function exportJwk(key: webcrypto.CryptoKey): Promise<Readonly<Record<string, string>>> {
  const { alg: _, ext: __, key_ops: ___, ...members } = await crypto.subtle.exportKey("jwk", key)
  return members as Readonly<Record<string, string>>
}
