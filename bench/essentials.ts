/**
 * What a gateway cannot do without, and nothing else: the calls of the platform that a request takes to be read, forwarded with the gateway's
 * fields and answered with others. It knows no rule, no client and no configuration. No gateway on this runtime that does the job costs less.
 */

/** As many as the gateway sets towards an origin, beside the certificate. */
const OWN_FIELDS = [
  "X-Client-Id",
  "X-Forwarded-For",
  "X-Forwarded-Host",
  "X-Forwarded-Proto",
  "Forwarded",
  "Traceparent",
  "Via",
] as const

export default {
  async fetch(request: Request, env: { readonly ORIGIN: string }, ctx: ExecutionContext): Promise<Response> {
    const { headers: received, method, url } = request
    let octets = 0
    for (const [name, value] of received) octets += name.length + value.length
    const facts = request.cf?.tlsClientAuth as { readonly certRFC9440?: string } | undefined
    if (octets > 32_768 || facts?.certRFC9440 === undefined) return new Response(null, { status: 400 })
    const id = crypto.randomUUID()
    const headers = new Headers(received)
    for (const name of received.keys()) if (name === "host" || name.startsWith("cf-")) headers.delete(name)
    headers.set("Client-Cert", facts.certRFC9440)
    headers.set("X-Request-Id", id)
    for (const name of OWN_FIELDS) headers.set(name, id)
    const deadline = new AbortController()
    const timer = setTimeout(() => deadline.abort(), 10_000)
    const target = new URL(url)
    const answer = await fetch(env.ORIGIN + target.pathname + target.search, {
      method,
      headers,
      body: request.body,
      redirect: "manual",
      signal: AbortSignal.any([request.signal, deadline.signal]),
      cf: { cacheTtl: -1, cacheLevel: "bypass" },
      encodeResponseBody: "manual",
    })
    clearTimeout(timer)
    const { headers: fields, status, statusText } = answer
    const response = new Response(answer.body, { headers: fields, status, statusText, encodeBody: "manual" })
    for (const name of fields.keys()) if (name === "connection") response.headers.delete(name)
    response.headers.set("X-Request-Id", id)
    response.headers.set("RateLimit-Policy", '"standard";q=1000000;w=1')
    response.headers.set("RateLimit", '"standard";r=999999')
    ctx.waitUntil(Promise.resolve())
    return response
  },
}
