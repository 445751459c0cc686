/**
 * Runs in Node, once, before the tests inside workerd: a recording origin, a sink, a trap and all certificates.
 */
import { createServer, type AddressInfo } from "node:net"
import type { TestProject } from "vitest/node"
import { mintCertificates } from "./outside/certificates.ts"
import { mintTokenKeys, startKeyServer } from "./outside/key-server.ts"
import { startControl } from "./outside/control-server.ts"
import { startOrigin } from "./outside/origin-server.ts"
import { startSink } from "./outside/sink-server.ts"

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
  const [origin, sink, keyServer, minted, tokenKeys] = await Promise.all([
    startOrigin(trapPort),
    startSink(trapPort),
    startKeyServer(),
    mintCertificates(Date.now()),
    mintTokenKeys(),
  ])
  const control = await startControl({ origin, sink, keyServer, trapConnections: () => trapConnections })
  project.provide("fixtures", {
    ...minted,
    tokenKeys,
    keyServerPort: keyServer.port,
    originPort: origin.port,
    sinkPort: sink.port,
    controlPort: control.port,
    closedPort,
    trapPort,
  })
  return () => {
    for (const server of [origin, sink, keyServer, control, trap]) server.close()
  }
}

async function listen(server: ReturnType<typeof createServer>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return (server.address() as AddressInfo).port
}
