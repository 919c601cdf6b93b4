// What a deployment is told, checked while plugins are loaded: before the serverless command puts the values into its files,
// where a wrong one becomes a page of "Cannot resolve variable", and before CloudFormation meets it half-way.
'use strict';

// As shared/fiso_client/core/grammar.py has it; tests/architecture/test_stage_names.py holds the two together.
const STAGE = /^[a-z][a-z0-9-]{0,19}$/;
const QUOTA = /^([^=\s]+=)?\d+(\.\d+)?(e\d)?\/\d+(\.\d+)?(e\d)?$/;
// The days for which CloudWatch Logs keeps a group.
const KEPT_DAYS = [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

const oneOf = (...words) => [(text) => words.includes(text), `must be one of ${words.join(', ')}`];
const whole = (least, most) => [
  (text) => /^\d{1,9}$/.test(text) && +text >= least && +text <= most,
  `must be a whole number from ${least} to ${most}`,
];
const like = (pattern, as) => [(text) => pattern.test(text), `must be ${as}`];
const words = (pattern, as) => [(text) => text.split(/\s+/).every((word) => !word || pattern.test(word)), `must be ${as}`];
const flag = oneOf('true', 'false');
const count = whole(1, 100000);
const number = like(/^-?\d{1,9}(\.\d{1,9})?$/, 'a number');
const rate = like(/^(rate\(\d+ (minute|hour|day)s?\)|cron\([^)]+\))$/, 'as in rate(1 day) or cron(0 4 * * ? *)');
const REGION = /^[a-z]{2}(-[a-z]+)+-\d$/;

function isOrigins(text) {
  if (!text) return true;
  try {
    return Array.isArray(JSON.parse(text).allow_origins);
  } catch {
    return false;
  }
}

const RULES = {
  architecture: oneOf('arm64', 'x86_64'),
  auth: oneOf('iam', 'jwt', 'none'),
  iamTenant: oneOf('account', 'role'),
  frontDoor: oneOf('api', 'url'),
  domain: oneOf('none', 'root', 'path'),
  logIndexes: oneOf('none', 'open', 'both'),
  recordRetention: oneOf('RetainExceptOnCreate', 'Retain', 'Delete'),
  logRetentionDays: oneOf(...KEPT_DAYS.map(String)),
  routeMetrics: flag,
  protectRecords: flag,
  streamEnabled: flag,
  reservedConcurrency: count,
  routeRate: count,
  routeBurst: count,
  openRate: count,
  openBurst: count,
  browserRate: count,
  browserBurst: count,
  consumerMemory: whole(128, 10240),
  archiveWindow: whole(1, 300),
  minimumRows: whole(0, 1e8),
  minimumNewRows: whole(0, 1e8),
  latencyAlarmMs: number,
  dailyCostAlarmUsd: number,
  skillAlarmFloor: number,
  failureRateAlarm: number,
  serverErrorsAlarm: number,
  concurrencyAlarm: number,
  faultsAlarm: number,
  driftThreshold: number,
  retrainOnDrift: oneOf('1', '0', ''),
  trainOn: like(/^($|(sagemaker|azureml|vertex)( --[a-z][a-z-]*( [A-Za-z0-9][A-Za-z0-9:\/@._=+-]*)?)*$)/, 'sagemaker, azureml or vertex with its options'),
  retrainerRate: rate,
  driftRate: rate,
  homeRegion: like(REGION, 'a region, as in eu-west-1'),
  keyRegions: words(REGION, 'regions, as in us-west-2 eu-west-1'),
  modelFamilies: words(/^(hist_gradient_boosting|random_forest|linear)$/, 'of hist_gradient_boosting, random_forest, linear'),
  otlpUrl: like(/^($|https?:\/\/[^\s/]+)/, 'a URL, as in https://collector.example:4318'),
  tracedShare: like(/^($|0(\.\d+)?$|1(\.0+)?$)/, 'a share from 0 to 1'),
  quotas: words(QUOTA, 'requests a second and at once, as in 50/100'),
  cors: [isOrigins, 'must be JSON, as in {"allow_origins": ["https://app.example.com"]}'],
};

// The first thing that is wrong, in words; nothing where all is well. `params` by stage as in serverless.yml, `told` as in
// --param, `name=value` each.
function wrong(stage, params, told = []) {
  if (!STAGE.test(stage)) return `stage '${stage}': must be lower-case letters, digits and -, at most 20, as in dev or prod`;
  const known = new Set([...Object.keys(params.default || {}), ...Object.keys(RULES)]);
  const given = told.map((each) => [each.slice(0, Math.max(each.indexOf('='), 0)) || each, each.slice(each.indexOf('=') + 1)]);
  for (const [name, value] of [...Object.entries(params[stage] || {}), ...given]) {
    if (!known.has(name)) return `parameter '${name}': there is none of this name; serverless.yml has all, under params`;
    if (told.includes(name)) return `parameter '${name}': must have a value, as in ${name}=${value === name ? 'VALUE' : value}`;
  }
  const values = { ...params.default, ...params[stage], ...Object.fromEntries(given) };
  for (const [name, [isRight, must]] of Object.entries(RULES)) {
    const value = values[name];
    const isText = ['string', 'number', 'boolean'].includes(typeof value) && !String(value).includes('${');
    if (isText && !isRight(String(value))) return `${name}: ${must}; not '${value}'`;
  }
  return undefined;
}

class CheckedInput {
  constructor(serverless, options) {
    const { params = {}, provider = {} } = serverless.configurationInput;
    const stage = options.stage === undefined ? provider.stage : options.stage;
    const region = options.region || provider.region;
    const why =
      wrong(String(stage), params, options.param) ||
      (/^[a-z]/.test(region) && !REGION.test(region) && `region '${region}': must be one of AWS's, as in eu-west-1`);
    if (why) throw new serverless.classes.Error(why);
  }
}

module.exports = CheckedInput;
module.exports.wrong = wrong;
