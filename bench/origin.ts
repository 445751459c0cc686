/**
 * A fast origin in a process of its own: answers everything with 200 octets of JSON. Prints its port.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const body = JSON.stringify({ filler: "x".repeat(187) })
const server = createServer((request, response) => {
  request.resume()
  response.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length })
  response.end(body)
})
server.keepAliveTimeout = 60_000
server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port))
