import { FisoAway, FisoDeclined, FisoRefused } from "./errors.js";
import type { components } from "./api.js";

export type LeaseDocument = components["schemas"]["Lease"];
export type ReportDocument = components["schemas"]["Report"];
export type Headers = Record<string, string>;

/** The headers that identify the caller to FISO, from method, URL and body: a signature, or a bearer token. */
export type Identify = (method: string, url: string, body: Uint8Array) => Headers | Promise<Headers>;

const RETURN_MS = 30_000;
export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** FISO's front doors, of which the first that can be reached is asked; one that was away is preferred again after 30 s. */
export class Fronts {
  private readonly awayUntil: number[];

  constructor(
    readonly urls: readonly string[],
    private readonly identify: Identify,
    private readonly timeoutMs: number,
  ) {
    this.awayUntil = urls.map(() => 0);
  }

  order(): number[] {
    const isAway = (front: number) => Number((this.awayUntil[front] ?? 0) > performance.now());
    return [...this.urls.keys()].sort((one, two) => isAway(one) - isAway(two));
  }

  wasAway(front: number): void {
    this.awayUntil[front] = performance.now() + RETURN_MS;
  }

  /** A lease of the first that can be reached. What one says counts, also when it refuses. */
  async decide(name: string, size: number): Promise<{ document: LeaseDocument; front: number }> {
    if (!NAME.test(name)) throw new FisoRefused(`${JSON.stringify(name.slice(0, 80))} is no function's name`);
    const problems: string[] = [];
    for (const front of this.order()) {
      try {
        const document = await this.post(front, `/v1/decide/${name}`, "", { "x-fiso-request-size": String(size) });
        return { document: document as LeaseDocument, front };
      } catch (error) {
        if (!(error instanceof FisoAway)) throw error;
        this.wasAway(front);
        problems.push(`${this.urls[front]}: ${error.message}`);
      }
    }
    throw new FisoAway(problems.join("; "));
  }

  /** How many of the outcomes are in FISO's log now. A batch that is sent again counts once there. */
  async report(front: number, report: ReportDocument): Promise<number> {
    const told = (await this.post(front, "/v1/outcomes", JSON.stringify(report), {
      "content-type": "application/json",
    })) as { accepted?: number; repeated?: number };
    return (told.accepted ?? 0) + (told.repeated ?? 0);
  }

  async identified(method: string, url: string, body: Uint8Array): Promise<Headers> {
    return this.identify(method, url, body);
  }

  private async post(front: number, path: string, body: string, headers: Headers): Promise<object> {
    const url = this.urls[front] + path;
    const raw = new TextEncoder().encode(body);
    const sent = { ...headers, ...(await this.identified("POST", url, raw)) };
    let status: number, text: string;
    try {
      const signal = AbortSignal.timeout(this.timeoutMs);
      const answer = await fetch(url, { method: "POST", headers: sent, body: raw, redirect: "manual", signal });
      [status, text] = [answer.status, await answer.text()];
    } catch (error) {
      throw new FisoAway(said(error));
    }
    const what = `status ${status}: ${text.slice(0, 300)}`;
    if ([400, 404, 413].includes(status)) throw new FisoRefused(what);
    // unlike a FISO that has failed, or has no catalog to decide by
    const isNothingEligible = status === 503 && text.includes('"urn:fiso:problem:no-endpoint-available"');
    if ([401, 403, 429].includes(status) || isNothingEligible) throw new FisoDeclined(what);
    if (status !== 200) throw new FisoAway(what);
    try {
      const document: unknown = JSON.parse(text);
      if (document !== null && typeof document === "object") return document;
    } catch {
      // told below
    }
    throw new FisoAway("the answer is no JSON object");
  }
}

/** What a failed `fetch` says; the reason stands in its cause. */
export function said(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? `${(cause as NodeJS.ErrnoException).code ?? cause.name} ${cause.message}`.trim() : String(cause);
}

const NEVER_SENT = new Set([
  "ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT",
  "CERT_HAS_EXPIRED", "DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "ERR_TLS_CERT_ALTNAME_INVALID",
]);

/** Whether a failed `fetch` had no connection yet, so that nothing can have run. */
export function neverSent(error: unknown): boolean {
  const causes: unknown[] = [];
  for (let at: unknown = error; at instanceof Error && causes.length < 5; at = at.cause) {
    causes.push(...(at instanceof AggregateError ? at.errors : [at]));
  }
  return causes.some((each) => NEVER_SENT.has((each as NodeJS.ErrnoException).code ?? ""));
}
