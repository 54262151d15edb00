"""What a model's trees and all above them compute, as part of an ONNX graph, in float64.

Sums and products are taken in the order of the fitted model's own, so that they round as it does. Only what exp and log
round differs between libraries, by the last bit or two.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.base import is_classifier

from export import calibration, fallback, kernels, tree_ensemble
from export.columns import quietly
from export.graph import DOUBLE, FLOAT, INT64, Graph
from export.refusal import NotFoldable
from export.splits import Bins
from export.steps import Steps
from export.trees.ensemble import Ensemble, Link, Trees
from export.trees.expression import (
    Calibrated,
    Columns,
    Expression,
    Linear,
    Mean,
    Member,
    Other,
    Placed,
    Prepared,
    members,
)


class Arithmetic:
    """Writes an expression into a graph.

    Parameters
    ----------
    graph : Graph
    rows : str
        The graph's value of the rows to score, [R, F].
    expression : Expression
        Its members' ensembles are on the raw columns and, behind them, on the numbers of their `Bins`; or on columns
        that are `Prepared`, where they could not be folded.
    steps : Steps or None
        Writes what prepares columns; None where nothing does.
    """

    def __init__(self, graph: Graph, rows: str, expression: Expression, steps: Steps | None = None) -> None:
        self._steps = steps
        self._graph, self._rows = graph, rows
        self._number = {id(member.ensemble): number for number, member in enumerate(members(expression))}
        self._count = 0
        self._written: dict[tuple[int, int | None], str] = {}
        self._prepared: dict[tuple[int, ...], str] = {}
        self._rounded: dict[str, str] = {}
        self._machines: dict[tuple[int, str], str] = {}

    def write(self, expression: Expression, place: int | None = None) -> str:
        """Write what an expression gives, [R, K]; or, where ``place`` is given, that one of its columns, [R, 1]."""
        key = id(expression), place
        if key not in self._written:
            self._written[key] = self._write(expression, place)
        return self._written[key]

    def _write(self, expression: Expression, place: int | None) -> str:
        graph = self._graph
        match expression:
            case Member(gives="raw"):
                return self._raw(expression, place)
            case Member():
                return self._linked(expression, place)
            case Mean(of=parts, weights=weights):
                return self._mean([self.write(part, place) for part in parts], weights)
            case Columns(of=part, places=(only,)):
                return self.write(part, only)
            case Columns(of=part, places=places) if place is not None:
                return self.write(part, places[place])
            case Columns(of=part, places=places):
                return self._gather(self.write(part), places)
            case Calibrated(n_classes=2, calibrators=(calibrator,)) if expression.method != "temperature":
                name = self._name("calibrated")
                second = calibration.write(graph, calibrator, self.write(expression.of), name)
                return self._pair(second, place)
            case _ if place is not None:
                return self._gather(self.write(expression), (place,))
            case Calibrated(method="temperature"):
                return calibration.write_temperature(
                    graph,
                    expression.calibrators[0],
                    self.write(expression.of),
                    self._name("tempered"),
                    n_sums=_n_sums(expression.of),
                )
            case Calibrated():
                return self._one_against_all(expression)
            case Placed(of=part, places=places, n_classes=n_classes):
                return self._placed(self.write(part), places, n_classes)
            case Linear():
                return self._linear(expression)
            case Prepared():
                return self._columns_of(expression)
            case Other():
                return self._other(expression)
        raise NotFoldable(f"{type(expression).__name__} has no nodes")

    def _raw(self, member: Member, place: int | None) -> str:
        """Write the sums of an ensemble: of leaves that weigh one number, or one column of the others, or all."""
        ensemble = member.ensemble
        is_vector = ensemble.trees.weight.shape[1] > 1
        key = id(ensemble), place if is_vector else None
        if key not in self._written:
            name = f"sum_{self._number[id(ensemble)]}"
            if not is_vector:
                self._written[key] = self._sums(member, name)
            elif ensemble.aggregation != "mean":
                raise NotFoldable("trees whose leaves add to all outputs are written where they are averaged alone")
            elif place is None:
                self._written[key] = self._means_of_vectors(member, name)
            elif (whole := self._written.get((id(ensemble), None))) is not None:
                self._written[key] = self._gather(whole, (place,))
            else:
                one = replace(ensemble.trees, weight=ensemble.trees.weight[:, [place]])
                self._trees(member, one, name, is_mean=True)
                self._written[key] = name
        found = self._written[key]
        return (
            self._gather(found, (place,)) if place is not None and not is_vector and ensemble.n_outputs > 1 else found
        )

    def _trees(self, member: Member, trees: Trees, to: str, n_targets: int = 1, **kind: bool) -> None:
        node = tree_ensemble.node(trees, self._columns(member), to, n_targets=n_targets, **kind)
        node.name = tree_ensemble.name(self._number[id(member.ensemble)])
        self._graph.nodes.append(node)

    def _sums(self, member: Member, name: str) -> str:
        """Sum leaves that weigh one number; the base is a tree of one leaf, so that it is added in its turn."""
        ensemble, graph = member.ensemble, self._graph
        trees, n_outputs = ensemble.trees, ensemble.n_outputs
        comes_first = ensemble.base_comes == "first" and ensemble.aggregation == "sum"
        if comes_first and ensemble.base.any():
            trees = tree_ensemble.with_first_leaves(trees, ensemble.base)
        is_mean = ensemble.aggregation == "mean"
        self._trees(member, trees, name, n_outputs, is_mean=is_mean and n_outputs == 1)
        if is_mean and n_outputs > 1:
            counts = graph.constant(f"{name}_counts", np.bincount(trees.output, None, n_outputs).astype(np.float64))
            name = graph.add("Div", name, counts, to=f"{name}_means")
        if comes_first or not ensemble.base.any():
            return name
        return graph.add("Add", name, graph.constant(f"{name}_base", ensemble.base), to=f"{name}_based")

    def _means_of_vectors(self, member: Member, name: str) -> str:
        """Average leaves that weigh a number for every class.

        A leaf of ``TreeEnsemble`` weighs one number. So the trees give the place of each one's leaf in a table, and the
        table's rows are added up; by a running sum, because that alone adds in order.
        """
        graph, trees = self._graph, member.ensemble.trees
        n_trees = len(trees.root)
        table, place = np.unique(trees.weight, axis=0, return_inverse=True)
        places = replace(trees, weight=place.reshape(-1, 1).astype(np.float64), output=np.arange(n_trees))
        self._trees(member, places, f"{name}_places", n_trees)
        graph.cast(f"{name}_places", INT64, to=f"{name}_leaves")
        graph.constant(tree_ensemble.name_of_table(self._number[id(member.ensemble)]), table)
        graph.add("Gather", self._graph.constants[-1].name, f"{name}_leaves", to=f"{name}_shares")
        graph.add("CumSum", f"{name}_shares", graph.constant(f"{name}_trees", np.array(1)), to=f"{name}_running")
        graph.add("Gather", f"{name}_running", graph.constant(f"{name}_last", np.array(-1)), to=f"{name}_total", axis=1)
        return graph.add("Div", f"{name}_total", graph.constant(f"{name}_count", float(n_trees)), to=name)

    def _columns(self, member: Member) -> str:
        """Give the columns that a member's trees see: the rows, and the numbers of intervals behind them."""
        if not member.steps:
            return self._rows
        if isinstance(member.steps[0], Prepared):
            columns = self.write(member.steps[0])
            return columns if member.ensemble.casts_to == "float64" else self._short(columns)
        bins: tuple[Bins, ...] = member.steps
        name = tree_ensemble.name_of_bins(self._number[id(member.ensemble)])
        node = tree_ensemble.bins_node(bins, self._rows, name)
        node.name = name
        self._graph.nodes.append(node)
        return self._graph.add("Concat", self._rows, name, to=f"{name}_behind", axis=1)

    def _short(self, columns: str) -> str:
        """Round columns as the trees' own library rounds what it is given: to float32."""
        if columns not in self._rounded:
            short = self._graph.cast(columns, FLOAT, to=f"{columns}_short")
            self._rounded[columns] = self._graph.cast(short, DOUBLE, to=f"{columns}_rounded")
        return self._rounded[columns]

    def _linked(self, member: Member, place: int | None) -> str:
        ensemble = member.ensemble
        if ensemble.link in (Link.LOGISTIC_PAIR, Link.POSITIVE_PAIR):
            x = self._steepened(self._raw(member, None), ensemble)
            return self._pair(self._link(ensemble.link, x), place)
        if ensemble.link in (Link.SOFTMAX, Link.LOGISTIC_SHARES) and place is not None:
            return self._gather(self.write(member), (place,))
        return self._link(ensemble.link, self._steepened(self._raw(member, place), ensemble))

    def _steepened(self, x: str, ensemble: Ensemble) -> str:
        if ensemble.steepness == 1:
            return x
        factor = self._graph.constant(f"{x}_steepness", ensemble.steepness)
        return self._graph.add("Mul", x, factor, to=f"{x}_steepened")

    def _link(self, link: Link, x: str) -> str:
        """Put values [R, K] through a link; of the links that give pairs, this is the second column."""
        graph = self._graph
        if link is Link.IDENTITY:
            return x
        name = self._name("linked")
        match link:
            case Link.EXP:
                return graph.add("Exp", x, to=name)
            case Link.EXPM1:
                graph.add("Exp", x, to=f"{name}_exp")
                return graph.add("Sub", f"{name}_exp", graph.constant(f"{name}_one", 1.0), to=name)
            case Link.SQUARE:
                return graph.add("Mul", x, x, to=name)
            case Link.LOGISTIC | Link.LOGISTIC_PAIR:
                return graph.add("Sigmoid", x, to=name)
            case Link.LOGISTIC_SHARES:
                # onnxruntime's Sigmoid is a difference from 1, of which nothing is left far below 0.
                graph.add("Neg", x, to=f"{name}_negative")
                graph.add("Exp", f"{name}_negative", to=f"{name}_exp")
                graph.add("Add", f"{name}_exp", graph.constant(f"{name}_one", 1.0), to=f"{name}_odds")
                graph.add("Reciprocal", f"{name}_odds", to=f"{name}_shares")
                return self._shares(f"{name}_shares", name)
            case Link.CLIPPED_PAIR | Link.CLIPPED_SHARES:
                one = graph.constant(f"{name}_one", 1.0)
                graph.add("Clip", x, graph.constant(f"{name}_least", -1.0), one, to=f"{name}_clipped")
                graph.add("Add", f"{name}_clipped", one, to=f"{name}_above")
                graph.add("Div", f"{name}_above", graph.constant(f"{name}_two", 2.0), to=f"{name}_part")
                return f"{name}_part" if link is Link.CLIPPED_PAIR else self._shares(f"{name}_part", name)
            case Link.SHARES:
                axis = graph.constant(f"{name}_axis", np.array([1]))
                graph.add("ReduceSum", x, axis, to=f"{name}_sum", keepdims=1)
                graph.add("Equal", f"{name}_sum", graph.constant(f"{name}_none", 0.0), to=f"{name}_is_none")
                one = graph.constant(f"{name}_one", 1.0)
                graph.add("Where", f"{name}_is_none", one, f"{name}_sum", to=f"{name}_by")
                return graph.add("Div", x, f"{name}_by", to=name)
            case Link.SOFTMAX:
                return graph.add("Softmax", x, to=name, axis=1)
            case Link.LOG1P_EXP:
                # onnxruntime has no Softplus of float64.
                graph.add("Exp", x, to=f"{name}_exp")
                graph.add("Add", f"{name}_exp", graph.constant(f"{name}_one", 1.0), to=f"{name}_above")
                return graph.add("Log", f"{name}_above", to=name)
            case Link.SIGNED_SQUARE:
                graph.add("Abs", x, to=f"{name}_size")
                return graph.add("Mul", x, f"{name}_size", to=name)
            case Link.POSITIVE_PAIR:
                graph.add("Greater", x, graph.constant(f"{name}_zero", 0.0), to=f"{name}_positive")
                return graph.cast(f"{name}_positive", DOUBLE, to=name)
        raise NotFoldable(f"the link {link} has no nodes")

    def _divided_by_sum(self, x: str, name: str) -> str:
        axis = self._graph.constant(f"{name}_axis", np.array([1]))
        self._graph.add("ReduceSum", x, axis, to=f"{name}_sum", keepdims=1)
        return self._graph.add("Div", x, f"{name}_sum", to=name)

    def _shares(self, x: str, name: str) -> str:
        """Divide by the sum; where no class has any, each has the same."""
        graph = self._graph
        graph.add("ReduceMax", x, graph.constant(f"{name}_of_each", np.array([1])), to=f"{name}_largest", keepdims=1)
        graph.add("Equal", f"{name}_largest", graph.constant(f"{name}_none", 0.0), to=f"{name}_is_none")
        graph.add("Where", f"{name}_is_none", graph.constant(f"{name}_equal", 1.0), x, to=f"{name}_some")
        return self._divided_by_sum(f"{name}_some", name)

    def _pair(self, second: str, place: int | None) -> str:
        """Give the second class's score, or the first's, or both."""
        if place == 1:
            return second
        first = f"{second}_first"
        if place == 0 or place is None:
            self._graph.add("Sub", self._graph.constant(f"{second}_one", 1.0), second, to=first)
        return first if place == 0 else self._graph.add("Concat", first, second, to=f"{second}_pair", axis=1)

    def _mean(self, parts: Sequence[str], weights: Sequence[float]) -> str:
        graph, name = self._graph, self._name("mean")
        terms = [
            part
            if weight == 1
            else graph.add("Mul", part, graph.constant(f"{name}_weight_{i}", weight), to=f"{name}_{i}")
            for i, (part, weight) in enumerate(zip(parts, weights, strict=True))
        ]
        total = terms[0]
        for i, term in enumerate(terms[1:], 1):
            total = graph.add("Add", total, term, to=f"{name}_total_{i}")
        return graph.add("Div", total, graph.constant(f"{name}_weights", float(np.sum(weights))), to=name)

    def _one_against_all(self, expression: Calibrated) -> str:
        graph, name = self._graph, self._name("calibrated")
        given = [
            calibration.write(graph, calibrator, self._gather(self.write(expression.of), (i,)), f"{name}_{i}")
            for i, calibrator in enumerate(expression.calibrators)
        ]
        side_by_side = graph.add("Concat", *given, to=f"{name}_given", axis=1)
        placed = self._placed(side_by_side, expression.places, expression.n_classes)
        return self._shares(placed, name)

    def _placed(self, value: str, places: Sequence[int], n_classes: int) -> str:
        if tuple(places) == tuple(range(n_classes)):
            return value
        graph, name = self._graph, self._name("placed")
        graph.add("Pad", value, graph.constant(f"{name}_pads", np.array([0, 0, 0, 1])), to=f"{name}_and_zero")
        at = np.full(n_classes, len(places))
        at[list(places)] = np.arange(len(places))
        return graph.add("Gather", f"{name}_and_zero", graph.constant(f"{name}_at", at), to=name, axis=1)

    def _linear(self, expression: Linear) -> str:
        graph, name = self._graph, self._name("linear")
        parts = [self.write(part) for part in expression.of]
        x = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, to=f"{name}_columns", axis=1)
        graph.add("MatMul", x, graph.constant(f"{name}_coefficients", expression.coefficients.T), to=f"{name}_product")
        graph.add("Add", f"{name}_product", graph.constant(f"{name}_intercept", expression.intercept), to=f"{name}_sum")
        second = self._link(expression.link, f"{name}_sum")
        is_pair = expression.link in (Link.LOGISTIC_PAIR, Link.CLIPPED_PAIR)
        return self._pair(second, None) if is_pair else second

    def _columns_of(self, expression: Prepared) -> str:
        assert self._steps is not None
        key = tuple(map(id, expression.steps))
        if key not in self._prepared:
            self._prepared[key] = self._steps.write(expression.steps)
        return self._prepared[key]

    def _other(self, expression: Other) -> str:
        """Write a model by its own nodes, or by skl2onnx's."""
        assert self._steps is not None
        model, name = expression.estimator, self._name("model")
        try:
            x = self.write(expression.of)
        except NotFoldable as reason:
            raise NotFoldable(f"{expression.of.because}, and {reason}") from reason
        if kernels.reads(model):
            if (id(model), x) not in self._machines:
                self._machines[id(model), x] = kernels.write(self._graph, model, x, name)
            decision = self._machines[id(model), x]
            has_pair = is_classifier(model) and expression.gives == "scores"
            return kernels.write_probabilities(self._graph, model, decision, name) if has_pair else decision
        X = self._steps.tried(expression.of.steps)
        try:
            part = fallback.convert(model, X, quietly(expression.ask, X), expression.gives)
        except NotFoldable as reason:
            # Why it was not read says more than that skl2onnx can't convert it, either.
            is_said = "is no model of trees" in expression.of.because
            raise NotFoldable(str(reason) if is_said else expression.of.because) from reason
        return fallback.inline(self._graph, part, x, name)

    def _gather(self, value: str, places: Sequence[int]) -> str:
        name = self._name("columns")
        return self._graph.add("Gather", value, self._graph.constant(f"{name}_at", np.array(places)), to=name, axis=1)

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def _n_sums(expression: Expression) -> int:
    """Count the raw sums that an expression gives: one for two classes; none where it gives probabilities."""
    match expression:
        case Member(gives="raw", ensemble=ensemble):
            return ensemble.n_outputs
        case Linear(link=Link.IDENTITY, intercept=intercept):
            return len(intercept)
        case Other(gives="raw", estimator=estimator):
            return 1 if len(estimator.classes_) == 2 else len(estimator.classes_)
    return 0
