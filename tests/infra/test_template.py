"""template.yaml says what the code does, and keeps what a deployment must keep."""

import ast
import inspect
import json
import re
from pathlib import Path

import pytest
from cfnlint.api import lint_file

from infra.template import read_template
from lambda_fn import settings
from lambda_fn.sqs import results
from lambda_fn.sqs.messages import SAFE_SECONDS

TEMPLATE = read_template()
RESOURCES = TEMPLATE["Resources"]
GLOBALS = TEMPLATE["Globals"]["Function"]
STATES = Path("infra/batch_scoring.asl.json").read_text(encoding="utf-8")


def of_type(resource_type):
    found = {name: r.get("Properties", {}) for name, r in RESOURCES.items() if r["Type"] == resource_type}
    assert found
    return found


FUNCTIONS = of_type("AWS::Serverless::Function")


def nodes(value):
    yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(child)


def statements():
    return [node for node in nodes(RESOURCES) if isinstance(node, dict) and "Effect" in node]


def test_cfn_lint_finds_nothing():
    assert lint_file(Path("template.yaml")) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_handler_exists(name):
    module, _, function = FUNCTIONS[name]["Handler"].rpartition(".")
    tree = ast.parse(Path(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))

    assert function in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def test_variables_are_those_that_the_settings_read():
    given = {
        variable
        for function in (GLOBALS, *FUNCTIONS.values())
        for variable in function.get("Environment", {}).get("Variables", {})
    }

    read = set(re.findall(r'"([A-Z][A-Z_]+)"', inspect.getsource(settings.read_settings)))
    assert given <= read


def test_runtime_is_the_python_that_the_packages_are_compiled_by():
    assert GLOBALS["Runtime"] == "python" + Path(".python-version").read_text().strip()


def test_makefile_has_a_build_target_for_each_function():
    assert {RESOURCES[name]["Metadata"]["BuildMethod"] for name in FUNCTIONS} == {"makefile"}
    assert re.search(r"^build-%:", Path("Makefile").read_text(), re.MULTILINE)


def test_queue_function_reports_each_failed_message():
    messages = FUNCTIONS["QueueScoreFunction"]["Events"]["Messages"]["Properties"]

    assert messages["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert messages["BatchSize"] <= 10 or messages["MaximumBatchingWindowInSeconds"] > 0
    assert messages["Queue"] == {"Fn::GetAtt": ["RequestsQueue", "Arn"]}


def queue_timeout():
    return FUNCTIONS["QueueScoreFunction"].get("Timeout", GLOBALS["Timeout"])


def test_message_stays_hidden_for_six_timeouts():
    assert RESOURCES["RequestsQueue"]["Properties"]["VisibilityTimeout"] == 6 * queue_timeout()


def test_message_that_keeps_failing_goes_to_the_dead_letter_queue():
    redrive = RESOURCES["RequestsQueue"]["Properties"]["RedrivePolicy"]

    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    assert redrive["maxReceiveCount"] >= 5  # AWS's advice: throttled batches count as receives


def test_results_queue_drops_doubles():
    results, requests = (RESOURCES[name]["Properties"] for name in ("ResultsQueue", "RequestsQueue"))

    assert results["FifoQueue"] is True
    last_attempt = (requests["RedrivePolicy"]["maxReceiveCount"] - 1) * requests["VisibilityTimeout"]
    assert last_attempt + queue_timeout() < SAFE_SECONDS


def test_results_queue_takes_what_the_function_sends():
    assert RESOURCES["ResultsQueue"]["Properties"]["MaximumMessageSize"] == results.MAX_BYTES
    assert queue_timeout() * 1000 >= 3 * results.MAX_CALL_MILLISECONDS
    assert FUNCTIONS["QueueScoreFunction"]["Environment"]["Variables"]["RESULTS_QUEUE_URL"] == {"Ref": "ResultsQueue"}


def granted(role):
    """What a role may do on which resource, beside its logs."""
    policies = RESOURCES[role]["Properties"].get("Policies", [])
    return {
        (action, str(statement["Resource"]))
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }

    taking = {
        f"sqs:{action}"
        for action in (
            "ReceiveMessage",
            "DeleteMessage",
            "GetQueueAttributes",
            "GetQueueUrl",
            "ChangeMessageVisibility",
        )
    }
    requests, results = (str({"Fn::GetAtt": [name, "Arn"]}) for name in ("RequestsQueue", "ResultsQueue"))
    taking = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}

    assert granted("QueueScoreRole") == {(action, requests) for action in taking} | {("sqs:SendMessage", results)}


def test_scoring_needs_no_permission():
    assert {FUNCTIONS[name]["Role"]["Fn::GetAtt"][0] for name in ("ScoreFunction", "BatchScoreFunction")} == {
        "ScoreRole"
    }
    assert granted("ScoreRole") == set()


def test_hook_may_ask_the_new_version_and_tell_codedeploy():
    assert {action for action, _ in granted("PreTrafficRole")} == {
        "lambda:InvokeFunction",
        "codedeploy:PutLifecycleEventHookExecutionStatus",
    }
    assert FUNCTIONS["PreTrafficFunction"]["Environment"]["Variables"] == {
        "NEW_VERSION": {"Ref": "ScoreFunction.Version"}
    }


def test_hook_has_the_time_for_both_attempts():
    config = [
        node for node in ast.walk(ast.parse(Path("lambda_fn/pre_traffic.py").read_text())) if called(node, "Config")
    ]

    (given,) = ({keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords} for node in config)
    attempt = given["connect_timeout"] + given["read_timeout"]
    assert given["retries"]["total_max_attempts"] * attempt < FUNCTIONS["PreTrafficFunction"]["Timeout"]


def called(node, name):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def test_api_is_throttled_and_logs_no_payload():
    api = RESOURCES["Api"]["Properties"]

    assert api["DefaultRouteSettings"]["ThrottlingRateLimit"] > 0
    assert api["DefaultRouteSettings"]["ThrottlingBurstLimit"] > 0
    assert api["AccessLogSettings"]["DestinationArn"] == {"Fn::GetAtt": ["AccessLogs", "Arn"]}
    assert {"$context.requestId", "$context.status"} <= set(json.loads(api["AccessLogSettings"]["Format"]).values())


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "PreTrafficFunction"])
def test_new_version_of_a_function_takes_over_by_an_alias(name):
    preference = FUNCTIONS[name]["DeploymentPreference"]

    assert FUNCTIONS[name]["AutoPublishAlias"] == "live"
    assert preference["Type"].startswith("Canary")
    assert {"Ref": "ErrorsAlarm"} in preference["Alarms"]


def test_alarms_watch_what_operators_must_know():
    metrics = {
        (metric["Namespace"], metric["MetricName"])
        for metric in nodes(of_type("AWS::CloudWatch::Alarm"))
        if isinstance(metric, dict) and {"Namespace", "MetricName"} <= set(metric)
    }

    assert metrics >= {
        ("AWS/Lambda", "Errors"),
        ("AWS/Lambda", "Throttles"),
        ("AWS/Lambda", "Duration"),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
    }
    assert RESOURCES["LatencyAlarm"]["Properties"]["ExtendedStatistic"] == "p99"
    assert RESOURCES["DeadLettersAlarm"]["Properties"]["Dimensions"] == [
        {"Name": "QueueName", "Value": {"Fn::GetAtt": ["DeadLetterQueue", "QueueName"]}}
    ]


def test_bucket_is_closed_encrypted_and_forgets():
    bucket = RESOURCES["BatchBucket"]["Properties"]

    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert all(rule["ExpirationInDays"] for rule in bucket["LifecycleConfiguration"]["Rules"])


def test_sizes_and_processor_are_parameters():
    assert (GLOBALS["Architectures"], GLOBALS["MemorySize"]) == ([{"Ref": "Architecture"}], {"Ref": "MemorySize"})
    assert TEMPLATE["Parameters"]["Architecture"]["AllowedValues"] == ["x86_64", "arm64"]


def test_queues_and_bucket_take_unencrypted_connections_from_nobody():
    denied = [statement for statement in statements() if statement["Effect"] == "Deny"]

    assert len(denied) == 2
    for statement in denied:
        assert statement["Principal"] == "*"
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_every_function_has_a_sample_event():
    events = [json.loads(path.read_text(encoding="utf-8")) for path in Path("tests/events").glob("*.json")]

    for key in ("requestContext", "Records", "Items", "DeploymentId"):
        assert any(key in event for event in events)


def test_function_answers_before_its_caller_gives_up():
    assert GLOBALS["Timeout"] < 30  # HTTP APIs wait that long
    waits = [
        node["TimeoutSeconds"]
        for node in nodes(json.loads(STATES))
        if isinstance(node, dict) and "TimeoutSeconds" in node
    ]
    assert waits
    assert min(waits) > FUNCTIONS["BatchScoreFunction"]["Timeout"]


def test_state_machine_is_given_what_its_definition_names():
    given = RESOURCES["BatchScoring"]["Properties"]["DefinitionSubstitutions"]

    assert set(re.findall(r"\$\{(\w+)\}", STATES)) == set(given)


def test_no_permission_has_a_wildcard_action():
    actions = [
        action
        for statement in statements()
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    ]

    assert actions
    assert not [action for action in actions if "*" in action]


def test_only_the_delivery_of_logs_may_name_every_resource():
    everything = [s["Action"] for s in statements() if s["Effect"] == "Allow" and s.get("Resource") == "*"]

    assert all(action.startswith("logs:") for actions in everything for action in actions)


def test_roles_are_the_templates_own():
    assert {name for name, function in FUNCTIONS.items() if "Role" not in function} == set()
    assert not [node for node in nodes(RESOURCES) if isinstance(node, str) and "iam::aws:policy" in node]


def test_api_asks_who_calls_by_default():
    definition = RESOURCES["Api"]["Properties"]["DefinitionBody"]
    (method,) = definition["paths"]["$default"].values()

    condition, with_tokens, otherwise = method["security"]["Fn::If"]
    assert condition == "UseJwt"
    assert TEMPLATE["Parameters"]["JwtIssuer"]["Default"] == ""
    assert (with_tokens, otherwise) == ([{"Jwt": []}], [{"AWS_IAM": []}])
    schemes = definition["components"]["securitySchemes"]["Fn::If"]
    assert schemes[1]["Jwt"]["x-amazon-apigateway-authorizer"]["type"] == "jwt"
    assert schemes[2]["AWS_IAM"]["x-amazon-apigateway-authtype"] == "awsSigv4"


@pytest.mark.parametrize("queue", of_type("AWS::SQS::Queue"))
def test_queue_is_encrypted(queue):
    assert RESOURCES[queue]["Properties"]["SqsManagedSseEnabled"] is True


@pytest.mark.parametrize("group", of_type("AWS::Logs::LogGroup"))
def test_logs_are_not_kept_for_ever(group):
    assert RESOURCES[group]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_new_version_is_proved_and_takes_traffic_by_and_by():
    score = FUNCTIONS["ScoreFunction"]

    assert score["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert score["DeploymentPreference"]["Type"].startswith("Canary")
    assert score["DeploymentPreference"]["Hooks"] == {"PreTraffic": {"Ref": "PreTrafficFunction"}}
    assert {alarm["Ref"] for alarm in score["DeploymentPreference"]["Alarms"]} <= set(of_type("AWS::CloudWatch::Alarm"))
    assert FUNCTIONS["PreTrafficFunction"]["FunctionName"]["Fn::Sub"].startswith("CodeDeployHook_")


def test_dashboard_shows_every_alarm_and_names_only_what_there_is():
    body = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]

    names = {name.partition(".")[0] for name in re.findall(r"\$\{([^}]+)\}", body) if not name.startswith("AWS::")}
    assert names <= set(RESOURCES)
    assert set(of_type("AWS::CloudWatch::Alarm")) <= names
    assert json.loads(body)["widgets"]


def test_every_suppressed_check_has_its_reason():
    lines = Path(".checkov.yaml").read_text(encoding="utf-8").splitlines()
    checks = [index for index, line in enumerate(lines) if re.match(r"\s+- CKV", line)]

    assert checks
    for index in checks:
        before = lines[index - 1]
        assert before.lstrip().startswith("#") or index - 1 in checks
