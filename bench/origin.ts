/**
 * A fast origin in a process of its own: answers with 200 octets of JSON, and POST with the body that it gets, while it gets it.
 * Prints its port.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const body = JSON.stringify({ filler: "x".repeat(187) })
const server = createServer((request, response) => {
  if (request.method === "POST") {
    const length = request.headers["content-length"]
    response.writeHead(200, length === undefined ? {} : { "Content-Length": length })
    request.pipe(response)
    return
  }
  request.resume()
  response.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length })
  response.end(body)
})
server.keepAliveTimeout = 60_000
server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port))
