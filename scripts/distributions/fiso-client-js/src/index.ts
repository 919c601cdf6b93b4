export { Client } from "./client.js";
export type { Options } from "./client.js";
export { CallFailed } from "./calling.js";
export type { Answer, Caller, Failure, Raw, Request, Sent, Target } from "./calling.js";
export { FisoAway, FisoDeclined, FisoError, FisoRefused, NoAnswer, NoLease } from "./errors.js";
export type { components, operations, paths } from "./api.js";
