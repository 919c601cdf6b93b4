// Builds the deployment packages before `serverless package` and `serverless deploy` look for them.
//
// serverless.yml names ready archives under build/<stage>/. osls compares a deployment with the last one only by the archives
// in its package folder, so they are laid there too; and it keeps an unchanged layer out of a deployment, which would
// then differ from the next one, so the layer always goes along. With both, an unchanged deployment is "no changes".
//
// Names that are one for a whole account (roles, the bucket, dashboards) end in `${fiso:regional}`: nothing in the stage's
// home region, the region in any other.
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const HOST = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$/;
const BASE = /^[A-Za-z0-9$_.+!*'()-]{1,128}(\/[A-Za-z0-9$_.+!*'()-]{1,128}){0,7}$/;

const regional = {
  async resolve({ address, resolveVariable }) {
    if (address !== 'regional') throw new Error(`there is no \${fiso:${address}}`);
    const [home, region] = [await resolveVariable('param:homeRegion'), await resolveVariable('aws:region')];
    return { value: region === home ? '' : `-${region}` };
  },
};

class BuildPackages {
  constructor(serverless, options, { progress }) {
    this.serverless = serverless;
    this.options = options;
    this.progress = progress;
    this.configurationVariablesSources = { fiso: regional };
    this.hooks = {
      initialize: () => this.begin(),
      'before:package:initialize': () => this.build([]),
      'before:deploy:function:initialize': () => this.build(['--only', this.options.function]),
      'after:package:createDeploymentArtifacts': () => this.layOut(),
      'after:package:compileLayers': () => this.takeLayersAlong(),
      'before:aws:deploy:deploy:createStack': async () => {
        this.deployed = await this.describe();
        this.settings = await this.readSettings();
        this.keepBucket();
      },
      'after:aws:deploy:deploy:checkForChanges': () => this.deployWhatIsNot(),
    };
  }

  get stage() {
    return this.serverless.getProvider('aws').getStage();
  }

  // Before anything is built or changed. A function whose role is in no resource of this stage is not of this stage.
  begin() {
    this.checkDomain();
    const { functions, resources } = this.serverless.service;
    const known = Object.assign({}, ...[resources].flat().map((part) => part.Resources));
    for (const [name, { role }] of Object.entries(functions)) if (!known[role]) delete functions[name];
  }

  // CloudFormation would find out when half of the stack is made.
  checkDomain() {
    const { domain, domainName, domainBasePath, domainCertificateArn, domainHostedZoneId } = this.domain;
    if (domain === 'none') return;
    const region = this.serverless.getProvider('aws').getRegion();
    const certificate = new RegExp(`^arn:aws[a-z-]*:acm:${region}:[0-9]{12}:certificate/[0-9a-f-]{36}$`);
    const wrong =
      (!HOST.test(domainName) && `domainName '${domainName}': must be a host's name, as in fiso.example.com`) ||
      (domain === 'path' && !BASE.test(domainBasePath) && `domainBasePath '${domainBasePath}': must be as in fiso/v1`) ||
      (!certificate.test(domainCertificateArn) && `domainCertificateArn: must be a certificate of ACM in ${region}`) ||
      (!/^Z[A-Z0-9]{1,31}$/.test(domainHostedZoneId) && 'domainHostedZoneId: must be a zone of Route 53, as in Z0123456789');
    if (wrong) this.refuse(wrong);
  }

  get domain() {
    return this.serverless.service.custom.domain;
  }

  refuse(why) {
    throw new this.serverless.classes.Error(why);
  }

  get template() {
    return this.serverless.service.provider.compiledCloudFormationTemplate;
  }

  async describe() {
    const { CloudFormationClient, DescribeStacksCommand } = require('@aws-sdk/client-cloudformation');
    const provider = this.serverless.getProvider('aws');
    const client = new CloudFormationClient(await provider.getAwsSdkV3Config());
    const StackName = provider.naming.getStackName();
    return client.send(new DescribeStacksCommand({ StackName })).then(
      ({ Stacks }) => Stacks[0],
      () => ({}) // a new stage; what else is the matter, the deployment says itself
    );
  }

  // What `fiso setup` made, by parameter; CloudFormation would miss it only once the stack's own bucket is there.
  async readSettings() {
    const { SSMClient, GetParametersCommand } = require('@aws-sdk/client-ssm');
    const parameters = Object.entries(this.template.Parameters || {});
    const wanted = parameters.filter(([, { Type }]) => Type.startsWith('AWS::SSM::Parameter::Value'));
    if (!wanted.length) return {};
    const client = new SSMClient(await this.serverless.getProvider('aws').getAwsSdkV3Config());
    const Names = wanted.map(([, { Default }]) => Default);
    const { Parameters } = await client.send(new GetParametersCommand({ Names }));
    const values = Object.fromEntries(Parameters.map(({ Name, Value }) => [Name, Value]));
    const missing = Names.filter((name) => !(name in values));
    if (missing.length) {
      this.refuse(`there is no parameter ${missing.join(', ')}: run \`fiso setup --stage ${this.stage}\` first`);
    }
    return Object.fromEntries(wanted.map(([name, { Default }]) => [name, values[Default]]));
  }

  // osls compares templates and archives with those that it uploaded last: a setting's value does not stand there, and what
  // was uploaded need not have been deployed.
  deployWhatIsNot() {
    const { StackStatus, Outputs } = this.deployed;
    const stands = /^(CREATE|UPDATE)_COMPLETE$/.test(StackStatus) && (Outputs || []).length > 0;
    const deployed = (this.deployed.Parameters || []).map((each) => [each.ParameterKey, each.ResolvedValue]);
    const before = Object.fromEntries(deployed);
    if (!stands || Object.entries(this.settings).some(([name, value]) => before[name] !== value)) {
      this.serverless.service.provider.shouldNotDeploy = false;
    }
  }

  // A bucket of another name would be a new and empty one: catalog, models and archive would stay behind in the old.
  keepBucket() {
    const known = (this.deployed.Outputs || []).find(({ OutputKey }) => OutputKey === 'ArtifactsBucket');
    const wanted = this.template.Resources.Artifacts.Properties.BucketName['Fn::Sub'].split('${AWS::AccountId}');
    if (known && !(known.OutputValue.startsWith(wanted[0]) && known.OutputValue.replace(/^.*-\d{12}/, '') === wanted[1])) {
      this.refuse(
        `stage ${this.stage} has its data in ${known.OutputValue}, and this deployment would begin a new bucket: set ` +
          `homeRegion: ${this.serverless.getProvider('aws').getRegion()} among the stage's params in serverless.yml`
      );
    }
  }

  python() {
    const own = path.join(this.serverless.serviceDir, '.venv', 'bin', 'python');
    return process.env.FISO_PYTHON || (fs.existsSync(own) ? own : 'python3');
  }

  build(only) {
    this.progress.create({ name: 'fiso', message: 'Building packages' });
    const { architecture } = this.serverless.service.provider;
    const words = ['-m', 'fiso_cli.packaging', '--stage', this.stage, '--architecture', architecture, ...only];
    const done = spawnSync(this.python(), words, {
      cwd: this.serverless.serviceDir,
      encoding: 'utf8',
    });
    this.progress.get('fiso').remove();
    if (done.error) this.refuse(`cannot build packages: ${done.error.message}`);
    if (done.status !== 0) this.refuse(`cannot build packages: ${done.stderr.trim()}`);
    process.stderr.write(done.stdout);
  }

  archives() {
    const { functions, layers } = this.serverless.service;
    return [...Object.values(functions), ...Object.values(layers || {})]
      .map((part) => part.package && part.package.artifact)
      .filter(Boolean)
      .map((artifact) => path.resolve(this.serverless.serviceDir, artifact));
  }

  layOut() {
    const folder = this.serverless.service.package.path || path.join(this.serverless.serviceDir, '.serverless');
    fs.mkdirSync(folder, { recursive: true });
    for (const archive of this.archives()) {
      fs.copyFileSync(archive, path.join(folder, path.basename(archive)));
    }
  }

  takeLayersAlong() {
    for (const layer of Object.values(this.serverless.service.layers || {})) delete layer.artifactAlreadyUploaded;
  }
}

module.exports = BuildPackages;
