"""template.yaml says what the code does, and keeps what a deployment must keep."""

import ast
import inspect
import json
import os
import re
import subprocess
import uuid
from pathlib import Path

import pytest
from cfnlint.api import lint_file

from infra.template import read_template
from lambda_fn import observability, settings
from lambda_fn.sqs import results

TEXT = Path("template.yaml").read_text(encoding="utf-8")
TEMPLATE = read_template()
RESOURCES = TEMPLATE["Resources"]
GLOBALS = TEMPLATE["Globals"]["Function"]
STACK_ID = {"Ref": "AWS::StackId"}
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

    at_import = [inner for node in tree.body for inner in (node.body if isinstance(node, ast.With) else [node])]
    defined = {node.name for node in at_import if isinstance(node, ast.FunctionDef)}
    assigned = {
        name.id
        for node in at_import
        if isinstance(node, ast.Assign)
        for target in node.targets
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    }
    assert function in defined | assigned


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


def test_each_function_is_built_by_the_makefile_for_its_processor():
    assert {str(RESOURCES[name]["Metadata"]) for name in FUNCTIONS} == {
        str({"BuildMethod": "makefile", "ContextPath": {"Fn::Sub": "infra/build/${Architecture}"}})
    }
    for architecture in TEMPLATE["Parameters"]["Architecture"]["AllowedValues"]:
        build = Path("infra/build", architecture)
        command = [
            "make",
            "--dry-run",
            "--no-print-directory",  # which a make around the tests would have it print
            "--assume-old=.venv/ready",
            "--makefile",
            build / "Makefile",
            "build-ScoreFunction",
        ]
        environment = os.environ | {"ARTIFACTS_DIR": "artifacts", "ARCHITECTURE": "another"}
        printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        assert re.search(rf'--artifacts "artifacts" .*--architecture "{architecture}"$', printed, re.DOTALL)


def test_queue_function_reports_each_failed_message():
    messages = FUNCTIONS["QueueScoreFunction"]["Events"]["Messages"]["Properties"]

    assert messages["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert messages["BatchSize"] <= 10 or messages["MaximumBatchingWindowInSeconds"] > 0
    assert messages["Queue"] == {"Fn::GetAtt": ["RequestsQueue", "Arn"]}


def queue_timeout():
    return FUNCTIONS["QueueScoreFunction"].get("Timeout", GLOBALS["Timeout"])


def test_message_stays_hidden_for_six_timeouts_and_the_batching_window():
    window = FUNCTIONS["QueueScoreFunction"]["Events"]["Messages"]["Properties"]["MaximumBatchingWindowInSeconds"]

    assert RESOURCES["RequestsQueue"]["Properties"]["VisibilityTimeout"] >= 6 * queue_timeout() + window


def test_message_that_keeps_failing_goes_to_the_dead_letter_queue():
    redrive = RESOURCES["RequestsQueue"]["Properties"]["RedrivePolicy"]

    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    assert redrive["maxReceiveCount"] >= 5  # AWS's advice: throttled batches count as receives


def test_results_queue_drops_doubles():
    results, requests = (RESOURCES[name]["Properties"] for name in ("ResultsQueue", "RequestsQueue"))

    assert results["FifoQueue"] is True
    last_attempt = (requests["RedrivePolicy"]["maxReceiveCount"] - 1) * requests["VisibilityTimeout"]
    assert last_attempt + queue_timeout() < 300  # so long does SQS know a deduplication id


@pytest.mark.parametrize("name", [*of_type("AWS::SQS::Queue"), "BatchBucket"])
def test_what_clients_left_outlives_the_stack(name):
    assert RESOURCES[name]["DeletionPolicy"] == RESOURCES[name]["UpdateReplacePolicy"] == "Retain"


def test_results_queue_takes_what_the_function_sends():
    assert RESOURCES["ResultsQueue"]["Properties"]["MaximumMessageSize"] == results.MAX_BYTES
    assert queue_timeout() * 1000 >= 2 * results.MAX_CALL_MILLISECONDS
    assert FUNCTIONS["QueueScoreFunction"]["Environment"]["Variables"]["RESULTS_QUEUE_URL"] == {"Ref": "ResultsQueue"}


def granted(role):
    """What a role may do on which resource, beside its logs."""
    attached = [policy for policy in of_type("AWS::IAM::Policy").values() if {"Ref": role} in policy["Roles"]]
    return {
        (action, str(statement["Resource"]))
        for policy in [*RESOURCES[role]["Properties"].get("Policies", []), *attached]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


def test_key_that_is_missing_reads_as_missing():
    assert ("s3:ListBucket", str({"Fn::GetAtt": ["BatchBucket", "Arn"]})) in granted("BatchScoringRole")


def test_bulk_job_may_start_its_batches():
    assert ("states:StartExecution", str({"Ref": "BatchScoring"})) in granted("BatchScoringRole")


def test_queue_function_may_take_requests_and_send_results_and_nothing_else():
    requests, results = (str({"Fn::GetAtt": [name, "Arn"]}) for name in ("RequestsQueue", "ResultsQueue"))
    taking = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    postponing = {"sqs:GetQueueUrl", "sqs:ChangeMessageVisibility"}

    of_requests = {(action, requests) for action in taking | postponing}
    assert granted("QueueScoreRole") == of_requests | {("sqs:SendMessage", results)}


def said_of(queue):
    """What the queues' own policies say of a queue."""
    policies = of_type("AWS::SQS::QueuePolicy").values()
    (policy,) = (policy for policy in policies if {"Ref": queue} in policy["Queues"])  # SQS keeps one for each queue
    return policy["PolicyDocument"]["Statement"]


def test_requests_queue_takes_messages_of_the_topics_and_rules_that_are_named():
    _, conditional = said_of("RequestsQueue")

    condition, allowed, otherwise = conditional["Fn::If"]
    assert (condition, otherwise) == ("TakeFromServices", {"Ref": "AWS::NoValue"})
    assert allowed["Principal"] == {"Service": ["sns.amazonaws.com", "events.amazonaws.com"]}
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Ref": "MessageSources"}}}
    assert (allowed["Action"], allowed["Resource"]) == ("sqs:SendMessage", {"Fn::GetAtt": ["RequestsQueue", "Arn"]})


def test_bucket_forgets_versions_and_markers_too():
    """Else a versioned bucket keeps the names of what expired, and can't be deleted."""
    rules = RESOURCES["BatchBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    markers, objects = sorted(rules, key=lambda rule: "ExpirationInDays" in rule)

    assert markers["ExpiredObjectDeleteMarker"] is True and "NoncurrentVersionExpiration" not in markers
    assert objects["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}


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
    variables = FUNCTIONS["PreTrafficFunction"]["Environment"]["Variables"]
    assert variables["NEW_VERSION"] == {"Ref": "ScoreFunction.Version"}


def test_hook_has_the_time_for_both_attempts():
    (config,) = calls("lambda_fn/hook.py", "Config")

    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in config.keywords}
    attempt = given["connect_timeout"] + given["read_timeout"]
    assert given["retries"]["total_max_attempts"] * attempt < FUNCTIONS["PreTrafficFunction"]["Timeout"]


def calls(module, name):
    """Each call of a function by its name in a module's source."""
    nodes = (node for node in ast.walk(ast.parse(Path(module).read_text())) if isinstance(node, ast.Call))
    return [node for node in nodes if isinstance(node.func, ast.Name) and node.func.id == name]


def test_api_is_throttled_and_logs_no_payload():
    api = RESOURCES["Api"]["Properties"]

    assert api["DefaultRouteSettings"]["ThrottlingRateLimit"] > 0
    assert api["DefaultRouteSettings"]["ThrottlingBurstLimit"] > 0
    assert api["AccessLogSettings"]["DestinationArn"] == {"Fn::GetAtt": ["AccessLogs", "Arn"]}
    logged = set(json.loads(api["AccessLogSettings"]["Format"]).values())
    assert {"$context.requestId", "$context.status"} <= logged


def test_who_asked_is_on_record():
    logged = set(json.loads(RESOURCES["Api"]["Properties"]["AccessLogSettings"]["Format"]).values())

    assert {"$context.identity.userArn", "$context.authorizer.claims.sub"} <= logged


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "PreTrafficFunction"])
def test_new_version_of_a_function_takes_over_by_an_alias(name):
    preference = FUNCTIONS[name]["DeploymentPreference"]

    assert FUNCTIONS[name]["AutoPublishAlias"] == "live"
    assert preference["Type"].startswith("Canary")
    assert {"Ref": "ErrorsAlarm"} in preference["Alarms"]


def stopping(name):
    """The alarms that take a deployment back, by name."""
    alarms = FUNCTIONS[name]["DeploymentPreference"]["Alarms"]
    named = {str(alarm.get("AlarmName")): key for key, alarm in of_type("AWS::CloudWatch::Alarm").items()}
    return [alarm["Ref"] if "Ref" in alarm else named[str(alarm)] for alarm in alarms]


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "PreTrafficFunction"])
def test_no_alarm_that_a_deployment_refers_to_waits_for_its_alias(name):
    # Routes, permissions and event sources need the alias, which is updated by the deployment.
    waiting = {"Api", "BatchScoring"}
    referred = [alarm["Ref"] for alarm in FUNCTIONS[name]["DeploymentPreference"]["Alarms"] if "Ref" in alarm]

    for alarm in referred:
        assert not [n for n in nodes(RESOURCES[alarm]) if isinstance(n, dict) and n.get("Ref") in waiting]


def test_deployments_stop_on_what_their_functions_do_wrong():
    assert {"ErrorsAlarm", "LatencyAlarm", "ApiFaultsAlarm"} == set(stopping("ScoreFunction"))
    assert {"ErrorsAlarm", "UndeliveredAlarm", "NewDeadLettersAlarm"} == set(stopping("QueueScoreFunction"))


def test_canary_of_the_queue_lasts_until_a_message_may_be_given_up():
    (minutes,) = re.findall(r"(\d+)Minutes$", FUNCTIONS["QueueScoreFunction"]["DeploymentPreference"]["Type"])
    requests = RESOURCES["RequestsQueue"]["Properties"]

    assert requests["RedrivePolicy"]["maxReceiveCount"] * requests["VisibilityTimeout"] < int(minutes) * 60


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


@pytest.mark.parametrize("alarm", ["DeadLettersAlarm", "NewDeadLettersAlarm"])
def test_dead_letters_are_those_of_the_queue(alarm):
    of_queue = [{"Name": "QueueName", "Value": {"Fn::GetAtt": ["DeadLetterQueue", "QueueName"]}}]
    dimensions = [n["Dimensions"] for n in nodes(RESOURCES[alarm]) if isinstance(n, dict) and "Dimensions" in n]

    assert dimensions
    assert all(given == of_queue for given in dimensions)


def service(function):
    return FUNCTIONS[function]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]


@pytest.mark.parametrize("metric", ["UndeliveredOutcomes", "RowsRefused", "RowsScored", "PredictedClass"])
def test_metric_that_is_watched_is_written(metric):
    assert metric in TEXT
    assert metric in inspect.getsource(observability)


def test_undelivered_outcomes_raise_an_alarm():
    alarm = RESOURCES["UndeliveredAlarm"]["Properties"]

    assert (alarm["Namespace"], alarm["MetricName"]) == ("OnnxInference", "UndeliveredOutcomes")
    assert alarm["Dimensions"] == [{"Name": "service", "Value": service("QueueScoreFunction")}]


def test_refused_rows_of_a_bulk_job_raise_an_alarm():
    (metric,) = RESOURCES["BulkRefusalsAlarm"]["Properties"]["Metrics"]

    assert metric["Expression"]["Fn::Sub"] == (
        "SELECT SUM(RowsRefused) FROM SCHEMA(OnnxInference, service, model_version) "
        f"WHERE service = '{service('BatchScoreFunction')['Fn::Sub']}'"
    )


def test_each_function_is_a_service_of_its_own():
    names = [str(function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]) for function in FUNCTIONS.values()]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("length", [1, 128])  # CloudFormation's limits
def test_names_fit_whatever_the_stack_is_called(length):
    stack, stack_id = "s" * length, f"arn:aws:cloudformation:ap-southeast-2:123456789012:stack/s/{uuid.uuid4()}"
    limits = {"FunctionName": 64, "AlarmName": 255, "DashboardName": 255, "LogGroupName": 512}

    def resolved(name):
        if isinstance(name, dict) and "Fn::Join" in name:
            assert name == {"Fn::Join": ["", ["CodeDeployHook_", {"Fn::Select": [2, {"Fn::Split": ["/", STACK_ID]}]}]]}
            return "CodeDeployHook_" + stack_id.split("/")[2]
        return str(name.get("Fn::Sub", "${AWS::StackName}")).replace("${AWS::StackName}", stack)

    given = {
        (key, resolved(value))
        for resource in RESOURCES.values()
        for key, value in resource.get("Properties", {}).items()
        if key in limits
    }
    assert {key for key, _ in given} == set(limits)
    assert [name for key, name in given if len(name) > limits[key]] == []
    assert not [r for r in RESOURCES.values() if {"RoleName", "QueueName", "BucketName"} & set(r.get("Properties", {}))]
    assert "Name" not in RESOURCES["BatchScoring"]["Properties"]  # CloudFormation makes one that fits


def test_bucket_is_closed_encrypted_and_forgets():
    bucket = RESOURCES["BatchBucket"]["Properties"]

    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert any(rule.get("ExpirationInDays") for rule in bucket["LifecycleConfiguration"]["Rules"])


def test_sizes_and_processor_are_parameters():
    assert (GLOBALS["Architectures"], GLOBALS["MemorySize"]) == ([{"Ref": "Architecture"}], {"Ref": "MemorySize"})
    assert TEMPLATE["Parameters"]["Architecture"]["AllowedValues"] == ["x86_64", "arm64"]


def test_queues_and_bucket_take_unencrypted_connections_from_nobody():
    denied = [statement for statement in statements() if statement["Effect"] == "Deny"]

    assert len(denied) == 3
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


def test_only_the_delivery_of_logs_and_traces_may_name_every_resource():
    everything = [s["Action"] for s in statements() if s["Effect"] == "Allow" and s.get("Resource") == "*"]

    assert all(action.startswith(("logs:", "xray:")) for actions in everything for action in actions)


def test_traces_are_sent_by_those_who_may():
    roles = of_type("AWS::IAM::Role")

    assert GLOBALS["Tracing"] == {"Ref": "Tracing"}
    assert TEMPLATE["Parameters"]["Tracing"]["Default"] == "PassThrough"
    assert RESOURCES["WriteTraces"]["Condition"] == "Trace"
    for role in roles.values():
        assert {"Ref": "WriteTraces"} in list(nodes(role["ManagedPolicyArns"]))


def test_roles_are_the_templates_own():
    assert {name for name, function in FUNCTIONS.items() if "Role" not in function} == set()
    assert not [node for node in nodes(RESOURCES) if isinstance(node, str) and "iam::aws:policy" in node]


BY_CALLER = {"Fn::If": ["UseJwt", [{"Jwt": []}], [{"AWS_IAM": []}]]}


PATHS = RESOURCES["Api"]["Properties"]["DefinitionBody"]["paths"]


def security(path):
    """What each method of a path asks of its callers, the same for all."""
    first, *others = [method["security"] for method in PATHS[path].values()]
    assert all(other == first for other in others)
    return first


def test_api_asks_who_calls_by_default():
    assert security("$default") == BY_CALLER
    assert TEMPLATE["Parameters"]["JwtIssuer"]["Default"] == ""
    schemes = RESOURCES["Api"]["Properties"]["DefinitionBody"]["components"]["securitySchemes"]["Fn::If"]
    assert schemes[1]["Jwt"]["x-amazon-apigateway-authorizer"]["type"] == "jwt"
    assert schemes[2]["AWS_IAM"]["x-amazon-apigateway-authtype"] == "awsSigv4"


@pytest.mark.parametrize("path", ["/", "/openapi.json"])
def test_page_and_description_are_open_where_a_parameter_says_so(path):
    assert security(path) == {"Fn::If": ["OpenPage", [], BY_CALLER]}
    assert TEMPLATE["Parameters"]["PublicPage"]["Default"] == "false"


def test_preflight_is_answered_without_a_token_where_origins_are_given():
    assert security("/{proxy+}") == {"Fn::If": ["AnswerPreflights", [], BY_CALLER]}
    condition, cors, otherwise = RESOURCES["Api"]["Properties"]["DefinitionBody"]["x-amazon-apigateway-cors"]["Fn::If"]
    assert (condition, otherwise) == ("AnswerPreflights", {"Ref": "AWS::NoValue"})
    assert cors["allowOrigins"] == {"Fn::Split": [",", {"Ref": "AllowedOrigins"}]}
    assert {"authorization", "content-type"} <= set(cors["allowHeaders"])


def test_routes_of_the_api_are_those_of_the_function():
    events = [event["Properties"] for event in FUNCTIONS["ScoreFunction"]["Events"].values()]
    default = {"Path": "$default", "Method": "x-amazon-apigateway-any-method"}

    routes = {(route["Path"], route["Method"].lower()) for route in (default | event for event in events)}
    assert routes == {(path, method) for path, methods in PATHS.items() for method in methods}


ORIGINS = {
    "good": ["", "*", "https://a.example", "https://a.example,http://localhost:8080"],
    "bad": ["a.example", "https://a.example/", "https://a.example, https://b.example"],
}
BASE_PATHS = {"good": ["", "/scores", "/v1/scores"], "bad": ["scores", "/scores/", "/"]}


@pytest.mark.parametrize(("parameter", "values"), [("AllowedOrigins", ORIGINS), ("BasePath", BASE_PATHS)])
def test_parameter_takes_what_it_says(parameter, values):
    pattern = TEMPLATE["Parameters"][parameter]["AllowedPattern"]

    assert [value for value in values["good"] if not re.fullmatch(pattern, value)] == []
    assert [value for value in values["bad"] if re.fullmatch(pattern, value)] == []


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
