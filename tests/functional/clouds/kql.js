// What Microsoft's own parser of KQL says of queries: {tables, queries} as JSON in, the problems of each query out.
const folder = process.argv[2];
require(`${folder}/bridge.min.js`);
require(`${folder}/Kusto.Language.Bridge.min.js`);
const { KustoCode, GlobalState, Symbols } = Kusto.Language;
const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
const tables = Object.entries(asked.tables).map(([name, schema]) => Symbols.TableSymbol.From(schema).WithName(name));
const known = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor("workspace", tables));
const found = {};
for (const [where, query] of Object.entries(asked.queries)) {
  const told = KustoCode.ParseAndAnalyze(query, known).GetDiagnostics();
  found[where] = Array.from({ length: told.Count }, (_, number) => told.getItem(number).Message);
}
console.log(JSON.stringify(found));
