// Scores two rows with the client that @hey-api/openapi-ts makes: URL and rows as arguments.
import { client } from "./client/client.gen";
import { modelInfer, modelMetadata, predict } from "./client/sdk.gen";
import type { Instance } from "./client/types.gen";

declare const process: { argv: string[] };
const [url, name, table] = process.argv.slice(2) as [string, "credit-card-default", string];
const instances = JSON.parse(table) as Instance[];
client.setConfig({ baseUrl: url });

async function main(): Promise<void> {
  const predicted = await predict({ body: { instances, explain: true } });
  const described = await modelMetadata({ path: { model_name: name } });
  const data = instances.flatMap((row) => Object.values(row) as number[]);
  const inferred = await modelInfer({
    path: { model_name: name },
    body: { inputs: [{ name: "features", shape: [instances.length, data.length / instances.length], datatype: "FP64", data }] },
  });
  if (!predicted.data || !described.data || !inferred.data) throw new Error("a request was refused");
  const answer = inferred.data as { outputs: { data?: unknown }[] };
  console.log(JSON.stringify([predicted.data.predictions.map(({ probability }) => probability), answer.outputs[0]?.data]));
}

void main();
