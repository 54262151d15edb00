// Runs a model file in onnxruntime-node: rows as JSON on standard input, explained scores as JSON on standard output.
const { readFileSync } = require("fs");
const { InferenceSession, Tensor } = require("onnxruntime-node");

async function main() {
  const rows = JSON.parse(readFileSync(0, "utf8"));
  const session = await InferenceSession.create(process.argv[2]);
  const features = new Tensor("float64", Float64Array.from(rows.flat()), [rows.length, rows[0].length]);
  const scores = await session.run({ features, explain: new Tensor("bool", [true], []) });
  const plain = await session.run({ features, explain: new Tensor("bool", [false], []) });
  console.log(
    JSON.stringify({
      probability: Array.from(scores.probability.data),
      plain: Array.from(plain.probability.data),
      label: Array.from(scores.label.data, Number),
      contributions: Array.from(scores.contributions.data),
      foremost: Array.from(scores.foremost.data, Number),
      out_of_range: Array.from(scores.out_of_range.data, Boolean),
      illegal: Array.from(scores.illegal.data, Boolean),
    }),
  );
}

main();
