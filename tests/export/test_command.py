import json
import re

import joblib
import msgspec
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from export import witness
from export.__main__ import main
from lambda_fn.card import METADATA_KEY, Feature, decode_model_card, encode, verify_checksum


@pytest.fixture
def build(tmp_path, pipeline, card, clients, monkeypatch):
    """A folder as training leaves it."""
    X, y = clients
    joblib.dump(pipeline, tmp_path / "pipeline.joblib")
    (tmp_path / "card.json").write_bytes(encode(card))
    X[:300].assign(target=y[:300]).to_csv(tmp_path / "tidy.csv", index=False)
    monkeypatch.setattr(witness, "MADE_UP_ROWS", 1_000)
    return tmp_path


def card_of(path):
    import onnx

    verify_checksum(path.read_bytes())
    props = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    return decode_model_card(props[METADATA_KEY])


def run(build, *arguments):
    main([str(build / "pipeline.joblib"), "--out", str(build / "model.onnx"), *map(str, arguments)])
    return card_of(build / "model.onnx")


def test_command_writes_the_file_and_its_proof(build, capsys):
    card = run(build)

    proof = json.loads((build / "parity.json").read_text())
    assert proof["witnesses"]["sample"]["rows"] == 300
    assert card.version == proof["model_version"]
    told = capsys.readouterr().out
    assert "splits proved for every value that the card allows" in told
    assert "largest difference 0.0e+00, 0 labels differ" in told and "synthetic" in told


def test_threshold_can_be_chosen(build):
    decision = run(build, "--threshold", "0.4").decision

    assert (decision.rule, decision.threshold) == ("at_least", 0.4)


def test_reasons_can_be_left_out(build):
    assert run(build, "--no-reasons").families == ()


def test_card_can_be_drawn_from_a_sample(build):
    card = run(build, "--sample", build / "tidy.csv", "--target", "target")

    assert card.name == "tidy" and card.decision.rule == "predict"
    assert [family.name for family in card.families][:3] == ["age", "bill_amt", "pay_amt"]


def test_model_without_a_pipeline_is_exported(build, clients):
    X, y = clients
    joblib.dump(RandomForestClassifier(3, max_depth=3, random_state=0).fit(X, y), build / "pipeline.joblib")

    assert run(build).parity.method == "exact"


@pytest.mark.parametrize(
    ("damage", "arguments", "words"),
    [
        (lambda build: (build / "card.json").write_text("{"), [], "not a model card"),
        (
            lambda build: (build / "card.json").unlink(),
            [],
            "nothing tells of the model's columns: --sample with --target",
        ),
        (lambda build: None, ["--card", "no.json"], "no.json: No such file"),
        (lambda build: (build / "card.json").write_text('{"format_version": 1}'), [], "of format 1"),
        (lambda build: (build / "tidy.csv").write_text("age\n1\n"), [], "lacks the columns"),
        (lambda build: joblib.dump(RandomForestClassifier(), build / "pipeline.joblib"), [], "is not fitted: call fit"),
        (
            lambda build: joblib.dump(Pipeline([("a", StandardScaler())]), build / "pipeline.joblib"),
            [],
            "StandardScaler",
        ),
        (lambda build: joblib.dump({"a": 1}, build / "pipeline.joblib"), [], "a dict is no model"),
        (lambda build: (build / "pipeline.joblib").write_bytes(b"pickle?"), [], "can't be read by joblib"),
        (lambda build: (build / "pipeline.joblib").unlink(), [], "pipeline.joblib"),
        (lambda build: None, ["--threshold", "1.5"], "1.5 is not between 0 and 1"),
        (lambda build: None, ["--target", "target"], "--sample"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(build, damage, arguments, words, capsys):
    damage(build)

    with pytest.raises(SystemExit) as stopped:
        run(build, *arguments)

    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert words in told and told.count("\n") == 1
    assert not (build / "model.onnx").exists() and not (build / "parity.json").exists()


def test_model_of_another_version_is_told_as_such(build, pipeline, monkeypatch, capsys):
    import sklearn.base

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sklearn.base, "__version__", "1.2.1")
        joblib.dump(pipeline, build / "pipeline.joblib")

    with pytest.raises(SystemExit):
        run(build)

    assert "was written by scikit-learn 1.2.1" in capsys.readouterr().err


def test_file_that_fails_its_proof_is_not_written(build, card, monkeypatch, capsys):
    monkeypatch.setattr("export.exporter.TOLERANCE", -1.0)

    with pytest.raises(SystemExit):
        run(build)

    assert "python -m export: made up row" in capsys.readouterr().err
    assert not (build / "model.onnx").exists() and not (build / "parity.json").exists()


def test_limits_that_the_model_does_not_take_are_named(build, clients, card, capsys):
    """A forest refuses what is beyond float32."""
    X, y = clients
    joblib.dump(RandomForestClassifier(3, max_depth=3, random_state=0).fit(X, y), build / "pipeline.joblib")
    changes = {"bill_amt_1": {"kind": "number", "maximum": 1e300}}
    wide = tuple(msgspec.structs.replace(f, **changes.get(f.name, {})) for f in card.features)
    (build / "card.json").write_bytes(encode(msgspec.structs.replace(card, features=wide)))

    with pytest.raises(SystemExit):
        run(build)

    assert re.search(r"allows 'bill_amt_1' from \S+ to 1e\+300, and the model takes \S+ to", capsys.readouterr().err)


def test_card_that_was_drawn_can_be_kept_described_and_given_again(build):
    (build / "overrides.yaml").write_text("name: described\nfeatures: {age: {title: Years, maximum: 99}}\n")
    drawn = ["--sample", build / "tidy.csv", "--target", "target"]

    first = run(build, *drawn, "--describe", build / "overrides.yaml", "--write-card", build / "kept.json")
    again = run(build, "--card", build / "kept.json")

    kept = json.loads((build / "kept.json").read_text())
    assert all(feature.keys() == set(Feature.__struct_fields__) for feature in kept["features"])
    age = next(feature for feature in first.features if feature.name == "age")
    assert (first.name, age.title, age.maximum) == ("described", "Years", 99.0)
    assert again == first


def test_target_that_is_left_out_is_asked_for(build, capsys):
    (build / "card.json").unlink()

    with pytest.raises(SystemExit):
        run(build, "--sample", build / "tidy.csv")

    assert "--target, the column that the model predicts, draws a card from a table" in capsys.readouterr().err


def test_card_with_texts_needs_a_table(build, card, capsys):
    text = msgspec.structs.replace(card.features[0], kind="category", categories=("a", "b"))
    (build / "card.json").write_bytes(encode(msgspec.structs.replace(card, features=(text, *card.features[1:]))))
    (build / "tidy.csv").unlink()

    with pytest.raises(SystemExit):
        run(build)

    assert "card.json has texts, and only a table tells how the model takes them: give it" in capsys.readouterr().err


def test_rows_that_narrower_limits_refuse_are_left_out_and_told(build, clients, capsys):
    young = int((clients[0]["age"][:300] < 30).sum())
    (build / "overrides.yaml").write_text("features: {age: {minimum: 30}}")

    run(build, "--describe", build / "overrides.yaml")

    assert young and f"\n{young} rows of the sample are left out, as the card" in capsys.readouterr().out
    assert json.loads((build / "parity.json").read_text())["witnesses"]["sample"]["rows"] == 300 - young


def test_limits_that_refuse_the_whole_sample_are_named(build, capsys):
    (build / "overrides.yaml").write_text("features: {age: {minimum: 200, maximum: 300}}")

    with pytest.raises(SystemExit):
        run(build, "--describe", build / "overrides.yaml")

    assert "the card allows no row of the sample; of the first, 'age' is not what" in capsys.readouterr().err


def test_command_says_what_families_its_reasons_speak_of(build, capsys):
    run(build, "--sample", build / "tidy.csv", "--target", "target")

    assert re.search(r"reasons speak of \d+ families: age, bill_amt \(6 features\), ", capsys.readouterr().out)


def test_mlflow_model_brings_its_own_sample(build, pipeline, clients, capsys):
    folder = build / "model"
    folder.mkdir()
    joblib.dump(pipeline, folder / "model.pkl")
    (folder / "MLmodel").write_text(
        "flavors: {sklearn: {pickled_model: model.pkl}}\n"
        "saved_input_example_info: {artifact_path: example.json, type: dataframe}\n"
    )
    (folder / "example.json").write_text(clients[0][:40].to_json(orient="split"))

    main([str(folder), "--out", str(build / "model.onnx")])

    card = card_of(build / "model.onnx")
    assert (card.name, card.parity.method, card.data.rows) == ("model", "exact", 40)


def test_line_says_that_rows_alone_bear_witness(build, clients, capsys):
    X, y = clients
    joblib.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y), build / "pipeline.joblib")

    card = run(build)

    assert card.parity.method == "sampled"
    assert "proof: by rows alone, as LogisticRegression is no model of trees; " in capsys.readouterr().out
