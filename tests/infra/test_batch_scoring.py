"""The state machine on moto's interpreter of the States Language, with S3 and the packed function under the emulator.

moto 5.2.5 lacks pieces of the Distributed Map, and `for_moto` says what stands in for each:

- ItemBatcher: a batch is made for each item by ItemSelector, or, for JSON Lines, by the test before S3 (as
  `batches` does, within the same two limits, with what ItemSelector makes of each item); the number that
  MaxItemsPerBatchPath names goes into the batch's input, where the function lets it be;
- InputType JSONL: the test hands over a JSON array;
- ExecutionType EXPRESS: STANDARD;
- whole numbers as ToleratedFailurePercentage: the same with a decimal point, and moto never counts failed batches;
- a Fail state's CausePath gives a list, and its text in Python's form;
- one emulator takes one event at a time, so that MaxConcurrency is 1;
- ResultWriter writes a manifest alone and takes no WriterConfig: outcomes are read from the map's output.

The definition as it is deployed is checked against the States Language by cfn-lint (E3601), through the template that
holds it, as CloudFormation would.
"""

import ast
import copy
import csv
import io
import json
import re
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import botocore.session
import numpy as np
import pytest
import yaml
from cfnlint.api import lint_all
from moto import mock_aws

from infra.local.emulator import RuntimeInterfaceEmulator
from infra.template import read_function, read_template

DEFINITION = Path("infra/batch_scoring.asl.json").read_text(encoding="utf-8")
STATES = json.loads(DEFINITION)["States"]
MAPS = {name: state for name, state in STATES.items() if state["Type"] == "Map"}
SCORING = {name: state for name, state in MAPS.items() if "ItemBatcher" in state}
SIZING = STATES["SizeBatches"]
BATCHER = STATES["ScoreJSONLines"]["ItemBatcher"] | SIZING["Parameters"]["Payload"]
TASKS = {name: task for state in MAPS.values() for name, task in state["ItemProcessor"]["States"].items()} | {
    "SizeBatches": SIZING
}
MAX_PAYLOAD_BYTES = 262_144
ATOL = 1e-12


def substituted(**substitutions):
    return json.loads(re.sub(r"\$\{(\w+)\}", lambda match: substitutions[match[1]], DEFINITION))


def batches(items, batcher):
    """Cut items as ItemBatcher does."""
    batch = []
    for item in items:
        larger = len(json.dumps({"Items": [*batch, item]})) > batcher["MaxInputBytesPerBatch"]
        if batch and (larger or len(batch) == batcher["MaxItemsPerBatch"]):
            yield {"Items": batch}
            batch = []
        batch.append(item)
    yield {"Items": batch}


def placed(items):
    """Make of items what ItemSelector does."""
    return [{"place": place, "row": item} for place, item in enumerate(items)]


def for_moto(definition):
    """Put what moto has in the place of what it lacks."""
    definition = copy.deepcopy(definition)
    for name in MAPS:
        state = definition["States"][name]
        state["MaxConcurrency"] = 1
        state["ToleratedFailurePercentage"] = float(state["ToleratedFailurePercentage"])
        state["ItemProcessor"]["ProcessorConfig"]["ExecutionType"] = "STANDARD"
    for name in SCORING:
        state = definition["States"][name]
        most = state.pop("ItemBatcher")["MaxItemsPerBatchPath"]
        del state["ResultWriter"]
        state["ItemSelector"] = {"Items": [state["ItemSelector"]], "BatchInput": {"MaxItemsPerBatch.$": most}}
    definition["States"]["ScoreJSONLines"]["ItemSelector"] = {
        "Items.$": "$$.Map.Item.Value.Items",
        "BatchInput": {"MaxItemsPerBatch.$": most},
    }
    definition["States"]["ScoreJSONLines"]["ItemReader"]["ReaderConfig"]["InputType"] = "JSON"
    return definition


@pytest.fixture(scope="module")
def emulator(package):
    with RuntimeInterfaceEmulator(read_function("BatchScoreFunction"), package, log=io.StringIO()) as emulator:
        yield emulator


@pytest.fixture
def cloud(emulator, monkeypatch):
    """The machine and its bucket: `put` an object, `run` with an input."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "local")
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint)  # the emulator speaks Lambda's API
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        session = botocore.session.get_session()
        s3, machines = (session.create_client(name, region_name="us-east-1") for name in ("s3", "stepfunctions"))
        s3.create_bucket(Bucket="batches")
        definition = for_moto(substituted(BatchBucket="batches", BatchScoreFunctionArn="function"))
        arn = machines.create_state_machine(
            name="batch-scoring", definition=json.dumps(definition), roleArn="arn:aws:iam::123456789012:role/r"
        )["stateMachineArn"]

        def run(**input):
            execution = machines.start_execution(stateMachineArn=arn, name=str(uuid.uuid4()), input=json.dumps(input))[
                "executionArn"
            ]
            while (result := machines.describe_execution(executionArn=execution))["status"] == "RUNNING":
                time.sleep(0.02)
            return result

        yield SimpleNamespace(put=lambda key, body: s3.put_object(Bucket="batches", Key=key, Body=body), run=run)


@pytest.fixture
def table(rows):
    """Twelve clients with ids; the fourth and the last can't be scored."""
    items = [{"ID": str(1000 + i)} | row for i, row in enumerate(rows[:12].to_dict("records"))]
    items[3]["age"] = ""
    items[11]["sex"] = 7
    return items


def as_csv(table, **how):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), **how)
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_object_is_scored_row_by_row(encoding, cloud, table, pipeline, rows):
    cloud.put("clients.csv", as_csv(table).encode(encoding))

    result = cloud.run(key="clients.csv")

    assert result["status"] == "SUCCEEDED"
    check(json.loads(result["output"]), table, pipeline, rows)


def test_json_lines_are_scored_batch_by_batch(cloud, table, pipeline, rows):
    batcher = BATCHER | {"MaxItemsPerBatch": 5}
    cloud.put("clients.jsonl", json.dumps(list(batches(placed(table), batcher))).encode())

    result = cloud.run(key="clients.jsonl")

    assert result["status"] == "SUCCEEDED"
    output = json.loads(result["output"])
    assert [len(outcomes) for outcomes in output] == [5, 5, 2]
    check(output, table, pipeline, rows)


def check(output, table, pipeline, rows):
    outcomes = [outcome for batch in output for outcome in batch]
    assert [outcome["place"] for outcome in outcomes] == list(range(len(table)))
    assert [outcome["ID"] for outcome in outcomes] == [item["ID"] for item in table]
    bad = [index for index, outcome in enumerate(outcomes) if "title" in outcome]
    assert bad == [3, 11]
    assert [outcomes[index]["errors"][0]["pointer"] for index in bad] == ["/age", "/sex"]
    good = [index for index in range(len(table)) if index not in bad]
    expected = pipeline.predict_proba(rows[: len(table)])[good, 1]
    np.testing.assert_allclose([outcomes[index]["probability"] for index in good], expected, rtol=0, atol=ATOL)


@pytest.mark.parametrize("input", [{}, {"key": "clients.xlsx"}, {"key": "csv"}, {"key": 7}])
def test_other_input_fails_with_what_is_allowed(cloud, input):
    result = cloud.run(**input)

    assert (result["status"], result["error"]) == ("FAILED", "UnknownFormat")
    assert '{"key": NAME}' in result["cause"]


WRONG_NAMES = {
    "another separator": (lambda table: as_csv(table, delimiter=";"), "'ID;age;bill_amt_1;"),
    "a column too many": (lambda table: as_csv([{"": "0"} | item for item in table]), "the unknown column ''"),
    "what can't be seen": (
        lambda table: as_csv(table).replace("sex", "sex\u200b"),
        "lacks the column 'sex' and has the unknown column 'sex\\u200b'",
    ),
}


@pytest.mark.parametrize(("write", "told"), WRONG_NAMES.values(), ids=WRONG_NAMES)
def test_table_with_wrong_names_fails_the_run_and_shows_them(write, told, cloud, table):
    cloud.put("clients.csv", write(table).encode())

    result = cloud.run(key="clients.csv")

    assert (result["status"], result["error"]) == ("FAILED", "WrongNames")
    (fault,) = ast.literal_eval(result["cause"])  # moto's form
    assert told in fault


def test_table_without_rows_has_no_outcomes(cloud, table):
    cloud.put("clients.csv", as_csv(table).partition("\n")[0].encode())

    result = cloud.run(key="clients.csv")

    assert (result["status"], result["output"]) == ("SUCCEEDED", "[]")


def test_missing_object_fails_the_run(cloud):
    assert cloud.run(key="none.csv")["status"] == "FAILED"


def test_definition_is_valid_states_language():
    template = read_template()["Resources"]["BatchScoring"]["Properties"]
    assert template["DefinitionUri"] == "infra/batch_scoring.asl.json"

    def faults(definition):
        machine = {"Definition": definition, "RoleArn": "arn:aws:iam::123456789012:role/r"}
        resources = {"Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": machine}}
        found = lint_all(yaml.safe_dump({"Resources": resources}))
        return [match.rule.id for match in found if not match.rule.id.startswith("I")]

    definition = substituted(
        BatchBucket="batches", BatchScoreFunctionArn="arn:aws:lambda:eu-west-1:123456789012:function:f"
    )
    assert faults(definition) == []
    assert faults(definition | {"StartAt": "Nowhere"}) == ["E3601"]
    del definition["States"]["ScoreCSV"]["ItemProcessor"]["StartAt"]
    assert set(faults(definition)) == {"E3601"}


def test_full_batch_is_under_the_payload_limit(rows):
    assert BATCHER["MaxInputBytesPerBatch"] < MAX_PAYLOAD_BYTES
    # The count, not the bytes, ends a batch of ordinary rows, even where each number has seven digits.
    row = {name: "-1000000" for name in rows.columns} | {"ID": "1000000"}
    item = {"place": 1_000_000, "row": row}
    assert [len(batch["Items"]) for batch in batches([item] * 250, BATCHER)] == [100, 100, 50]


@pytest.mark.parametrize("state", SCORING.values(), ids=SCORING)
def test_batches_are_as_large_as_the_function_says(state):
    assert f"{SIZING['ResultPath']}.MaxItemsPerBatch" == state["ItemBatcher"]["MaxItemsPerBatchPath"]
    assert SIZING["ResultSelector"] == {"MaxItemsPerBatch.$": "$.Payload.MaxItemsPerBatch"}


@pytest.mark.parametrize("state", MAPS.values(), ids=MAPS)
def test_no_batch_may_fail(state):
    assert state["ToleratedFailurePercentage"] == 0
    assert "ToleratedFailureCount" not in state
    assert state["MaxConcurrency"] > 0
    assert state["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_what_may_pass_is_tried_again_and_nothing_else(task):
    retried = {error for retrier in task["Retry"] for error in retrier["ErrorEquals"]}

    # https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
    assert retried >= {"Lambda.ClientExecutionTimeoutException", "Lambda.ServiceException", "Lambda.SdkClientException"}
    assert retried >= {"Lambda.AWSLambdaException", "Lambda.TooManyRequestsException"}
    assert retried >= {"States.Timeout", "Lambda.Unknown", "Sandbox.Timedout", "Runtime.ExitError"}
    # The same bugs would fail again.
    assert not retried & {"States.ALL", "States.TaskFailed", "BatchError", "UnknownEvent"}
    assert task["TimeoutSeconds"] > read_function("BatchScoreFunction").timeout


@pytest.mark.parametrize("state", SCORING.values(), ids=SCORING)
def test_all_outcomes_are_written_with_their_rows_places(state):
    assert state["ItemSelector"] == {"place.$": "$$.Map.Item.Index", "row.$": "$$.Map.Item.Value"}
    writer = state["ResultWriter"]
    assert (writer["Parameters"], writer["WriterConfig"]) == (
        {"Bucket": "${BatchBucket}", "Prefix": "scores"},
        {"Transformation": "FLATTEN", "OutputType": "JSONL"},
    )


def test_both_formats_are_treated_alike():
    csv_map, lines_map = (
        json.loads(json.dumps(state).replace(name, "Score")) for name, state in copy.deepcopy(SCORING).items()
    )
    assert csv_map.pop("ItemReader") != lines_map.pop("ItemReader")
    assert csv_map == lines_map
