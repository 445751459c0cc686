/**
 * Runs in Node, once, before the tests inside workerd: a recording origin, a sink, a server of revocation lists, a trap
 * and all certificates.
 */
import { createServer, type AddressInfo } from "node:net"
import type { TestProject } from "vitest/node"
import { nameKey, readName } from "../../src/core/certificate/distinguished-name.ts"
import { readDer } from "../../src/core/certificate/der.ts"
import { formatHex } from "../../src/core/hex.ts"
import { createSigner, SIGNER_KINDS, type CrlSigner } from "../core/crl-signers.ts"
import { mintAuthorities } from "./outside/certificates.ts"
import { mintTokenKeys, startKeyServer } from "./outside/key-server.ts"
import { startControl } from "./outside/control-server.ts"
import { startCrlServer } from "./outside/crl-server.ts"
import { startOrigin } from "./outside/origin-server.ts"
import { startSink } from "./outside/sink-server.ts"
import type { CrlCa } from "./provided.ts"

/** Starts everything, hands it over, and returns how to stop it. */
export async function setup(project: TestProject): Promise<() => void> {
  let trapConnections = 0
  const trap = createServer((socket) => {
    trapConnections += 1
    socket.destroy()
  })
  const trapPort = await listen(trap)
  const closed = createServer()
  const closedPort = await listen(closed)
  closed.close()
  const [origin, sink, keyServer, { minted, signers }, kinds, tokenKeys] = await Promise.all([
    startOrigin(trapPort),
    startSink(trapPort),
    startKeyServer(),
    mintAuthorities(Date.now()),
    Promise.all(SIGNER_KINDS.map(async (kind) => [kind, await createSigner(kind)] as const)),
    mintTokenKeys(),
  ])
  const crlSigners: Readonly<Record<string, CrlSigner>> = { ...signers, ...Object.fromEntries(kinds) }
  const crlServer = await startCrlServer(crlSigners, trapPort)
  const control = await startControl({ origin, sink, keyServer, trapConnections: () => trapConnections })
  project.provide("fixtures", {
    ...minted,
    tokenKeys,
    keyServerPort: keyServer.port,
    crlCas: Object.fromEntries(
      Object.entries(crlSigners).map(([name, signer]) => [name, describeCa(signer, minted.skis["ca-a"])]),
    ),
    crlPort: crlServer.port,
    originPort: origin.port,
    sinkPort: sink.port,
    controlPort: control.port,
    closedPort,
    trapPort,
  })
  return () => {
    for (const server of [origin, sink, keyServer, crlServer, control, trap]) server.close()
  }
}

function describeCa({ issuer, publicKey }: CrlSigner, ski: string): CrlCa {
  const element = readDer(issuer)
  const name = element === undefined ? undefined : readName(element)
  return { nameKey: nameKey(name ?? []), ski, publicKey: formatHex(publicKey) }
}

async function listen(server: ReturnType<typeof createServer>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return (server.address() as AddressInfo).port
}
