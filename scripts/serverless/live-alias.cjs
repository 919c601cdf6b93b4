// Published versions behind one alias, `live`, which is what the API, the schedules and the stream call: a deployment moves
// it, at once or bit by bit, and moving it back is a rollback that needs no deployment (docs/deploy.md, "A new version").
//
// osls makes the versions, and an alias of its own name where it starts environments ahead of requests (SnapStart,
// provisioned concurrency). Here every function has the same alias whatever it does, so that a stage may change its mind:
// another logical id for the same name would be "already exists".
'use strict';

const ALIAS = 'live';
// The newest of each function's versions that stay, beside what aliases name: ways back, and what is stored.
const KEPT = 5;
const AT_ONCE = 'AllAtOnce';
const SHIFTS = [
  AT_ONCE,
  ...[5, 10, 15, 30].map((minutes) => `Canary10Percent${minutes}Minutes`),
  'Linear10PercentEvery1Minute',
  ...[2, 3, 10].map((minutes) => `Linear10PercentEvery${minutes}Minutes`),
];
const CANARY_PARTS = ['CanaryRole', 'CanaryApplication', 'CanaryGroup'];

class LiveAlias {
  constructor(serverless, options, { log }) {
    Object.assign(this, { serverless, log });
    this.hooks = {
      initialize: () => this.begin(),
      'after:package:compileFunctions': () => this.complete(),
      'after:aws:deploy:finalize:cleanup': () => this.prune(),
    };
  }

  get provider() {
    return this.serverless.getProvider('aws');
  }

  refuse(why) {
    throw new this.serverless.classes.Error(why);
  }

  // Before anything is built or changed.
  begin() {
    const { snapStart, provisionedConcurrency, canary } = this.serverless.service.custom.live;
    const { orchestrator } = this.serverless.service.functions;
    orchestrator.snapStart = { true: true, false: false }[snapStart];
    if (orchestrator.snapStart === undefined) this.refuse(`snapStart: must be true or false, not '${snapStart}'`);
    const [, least, most] = /^([0-9]{1,3})(?:-([0-9]{1,3}))?$/.exec(provisionedConcurrency) || [];
    if (least === undefined || (most && !(0 < +least && +least < +most))) {
      this.refuse(`provisionedConcurrency: must be a number, or two as in 1-5; not '${provisionedConcurrency}'`);
    }
    if (orchestrator.snapStart && +least) this.refuse('snapStart and provisionedConcurrency: Lambda has one or the other');
    if (!SHIFTS.includes(canary)) this.refuse(`canary: must be one of ${SHIFTS.join(', ')}; not '${canary}'`);
    if (+least && canary !== AT_ONCE) {
      // "Alias with weights can not be used with Provisioned Concurrency", in which stacks got stuck on their way back, too.
      this.refuse(`provisionedConcurrency: an alias that moves bit by bit has none; set canary: ${AT_ONCE}`);
    }
    orchestrator.provisionedConcurrency = +least;
    this.scaled = most ? [+least, +most] : undefined;
    this.hasCanary = canary !== AT_ONCE;
    this.name();
  }

  versioned() {
    const { functions } = this.serverless.service;
    return Object.entries(functions).filter(([, { versionFunction }]) => versionFunction !== false);
  }

  name() {
    const { naming } = this.provider;
    const logicalId = (name) => `${naming.getNormalizedFunctionName(name)}LiveAlias`;
    naming.getLambdaSnapStartEnabledAliasName = naming.getLambdaProvisionedConcurrencyAliasName = () => ALIAS;
    naming.getLambdaSnapStartAliasLogicalId = naming.getLambdaProvisionedConcurrencyAliasLogicalId = logicalId;
    for (const [name, found] of this.versioned()) found.targetAlias = { name: ALIAS, logicalId: logicalId(name) };
    for (const part of [this.serverless.service.resources].flat()) {
      if (!this.hasCanary) for (const unused of CANARY_PARTS) delete (part.Resources || {})[unused];
    }
  }

  // The aliases that osls makes none of, and how `live` of the orchestrator moves.
  complete() {
    const { Resources } = this.provider.serverless.service.provider.compiledCloudFormationTemplate;
    for (const [name, { targetAlias, versionLogicalId }] of this.versioned()) {
      // Of a deployment that failed nothing stays: the next try would meet its version, of the same code.
      Object.assign(Resources[versionLogicalId], { DeletionPolicy: 'RetainExceptOnCreate', UpdateReplacePolicy: 'Retain' });
      const FunctionName = { Ref: this.provider.naming.getLambdaLogicalId(name) };
      const FunctionVersion = { 'Fn::GetAtt': [versionLogicalId, 'Version'] };
      const Properties = { FunctionName, FunctionVersion, Name: ALIAS };
      Resources[targetAlias.logicalId] = Resources[targetAlias.logicalId] || { Type: 'AWS::Lambda::Alias', Properties };
    }
    if (this.hasCanary) Resources.OrchestratorLiveAlias.UpdatePolicy = { CodeDeployLambdaAliasUpdate: this.shift() };
    if (this.scaled) Object.assign(Resources, this.scaling(...this.scaled));
  }

  shift() {
    return { ApplicationName: { Ref: 'CanaryApplication' }, DeploymentGroupName: { Ref: 'CanaryGroup' } };
  }

  scaling(MinCapacity, MaxCapacity) {
    const of = { ServiceNamespace: 'lambda', ScalableDimension: 'lambda:function:ProvisionedConcurrency' };
    const ResourceId = { 'Fn::Sub': 'function:${OrchestratorLambdaFunction}:' + ALIAS };
    const target = { Type: 'AWS::ApplicationAutoScaling::ScalableTarget', DependsOn: 'OrchestratorLiveAlias' };
    const metric = { PredefinedMetricType: 'LambdaProvisionedConcurrencyUtilization' };
    const policy = {
      PolicyName: 'utilization',
      PolicyType: 'TargetTrackingScaling',
      ScalingTargetId: { Ref: 'ProvisionedTarget' },
      TargetTrackingScalingPolicyConfiguration: { TargetValue: 0.7, PredefinedMetricSpecification: metric },
    };
    return {
      ProvisionedTarget: { ...target, Properties: { ...of, ResourceId, MinCapacity, MaxCapacity } },
      ProvisionedScaling: { Type: 'AWS::ApplicationAutoScaling::ScalingPolicy', Properties: policy },
    };
  }

  // CloudFormation keeps the versions that a deployment leaves behind: ways back, and 75 GB of the account's in the end.
  async prune() {
    const sdk = require('@aws-sdk/client-lambda');
    const client = new sdk.LambdaClient(await this.provider.getAwsSdkV3Config());
    for (const [, { name: FunctionName }] of this.versioned()) {
      try {
        await pruned(client, sdk, FunctionName);
      } catch (error) {
        this.log.warning(`old versions of ${FunctionName} stay: ${error.message}`);
      }
    }
  }
}

async function pruned(client, sdk, FunctionName) {
  const { Aliases } = await client.send(new sdk.ListAliasesCommand({ FunctionName }));
  const named = new Set(
    Aliases.flatMap((alias) => [
      alias.FunctionVersion,
      ...Object.keys((alias.RoutingConfig || {}).AdditionalVersionWeights || {}),
    ])
  );
  const found = [];
  for await (const page of sdk.paginateListVersionsByFunction({ client }, { FunctionName })) found.push(...page.Versions);
  const numbers = found.map(({ Version }) => +Version).filter(Number.isInteger);
  for (const old of numbers.sort((one, other) => other - one).slice(KEPT)) {
    if (named.has(`${old}`)) continue;
    await client.send(new sdk.DeleteFunctionCommand({ FunctionName, Qualifier: `${old}` }));
  }
}

LiveAlias.pruned = pruned;
module.exports = LiveAlias;
