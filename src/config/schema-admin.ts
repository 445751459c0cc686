/**
 * What an operator writes about the admin room: its hosts, and how administrators prove who they are. A part of
 * `config/schema.ts`.
 */
import * as v from "valibot"
import { host, parseBaseUrl, secretName } from "./schema-names.ts"
import { list, table, text } from "./schema-parts.ts"

const team = text(
  'the https URL of the team at Cloudflare Access, without path, such as "https://bank.cloudflareaccess.com"',
  (input) => {
    const url = parseBaseUrl(input)
    if (url === undefined || url.path !== "" || input.endsWith("/")) return undefined
    // Whoever could answer in its place would be an administrator.
    return url.scheme === "https" || url.isLoopback ? input : { refused: "https (http is for loopback only)" }
  },
)
const audience = text("the Application Audience tag of the Access application: 1 to 256 letters and digits", (input) =>
  /^[A-Za-z0-9]{1,256}$/.test(input) ? input : undefined,
)

/** The variable `ADMIN`. */
export const admin = table("ADMIN", {
  hosts: list("at least one host name", host),
  token_secret: v.exactOptional(
    secretName('"ADMIN_TOKEN", that holds at least 32 random octets as base64url, which administrators show'),
  ),
  access: v.exactOptional(table("access", { team, audience })),
})
