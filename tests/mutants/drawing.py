"""The modules, and which mutants of them are run."""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import OPERATOR_PROVIDERS, get_operator
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import MutationSpec, WorkItem
from parso.python.tree import Keyword


@dataclass(frozen=True)
class Module:
    """``near`` are words in the names of the test files to run first; of a module that is not pure, a sample is run."""

    path: str
    near: Sequence[str] = ()
    pure: bool = False


MODULES = {
    "push/notes": Module("push/notes.py", ["tests/push/test_notes"], pure=True),
    "push/targets": Module("push/targets.py", ["tests/push/test_targets", "tests/push/test_notes"], pure=True),
    "realtime/plan": Module("realtime/fanout/plan.py", ["fanout/test_plan", "sockets", "history"], pure=True),
    "storage/transaction": Module(
        "storage/transaction.py", ["storage/test_transaction", "storage/test_log", "messages"]
    ),
    "storage/log": Module("storage/log.py", ["storage/test_log", "storage/test_transaction", "webhooks", "sockets"]),
    "realtime/posting": Module(
        "realtime/posting.py", ["test_posting", "messages", "media", "credits", "busy_chat", "journeys/test_push"]
    ),
    "realtime/credits": Module("realtime/credits.py", ["credits", "journeys/test_push"]),
    "storage/credits": Module("storage/credits.py", ["credits"]),
    "storage/contexts": Module(
        "storage/contexts.py", ["storage/test_contexts", "journeys/test_push", "badges", "live_activities"]
    ),
    "realtime/chat": Module("realtime/chat.py", ["chat", "badges", "sockets", "streams"]),
    "storage/chat": Module("storage/chat.py", ["storage/test_chat", "chat", "history", "streams"]),
    "realtime/messages": Module("realtime/messages.py", ["messages", "test_posting", "media", "credits", "history"]),
    "storage/messages": Module("storage/messages.py", ["messages", "accounts", "badges"]),
    "realtime/hub": Module("realtime/fanout/hub.py", ["hub", "sockets"]),
    "realtime/session": Module(
        "realtime/fanout/session.py", ["fanout/test_session", "sockets", "history", "accounts", "streams"]
    ),
    "push/worker": Module(
        "push/worker.py", ["tests/push/test_worker", "tests/push/test_targets", "test_push", "live_activities"]
    ),
    "realtime/streams": Module("realtime/streams.py", ["streams", "live_activities"]),
    "storage/streams": Module("storage/streams.py", ["storage/test_chat", "streams", "live_activities"]),
}
SEED, SAMPLE = 42, 150
# Of the replacements of one operator by all others most only fail at once, or in the same tests: these tell something.
# "is" for "==" and an order of what is only equal or not are left out too.
OPERATORS = re.compile(
    r"core/(AddNot|ReplaceTrueWithFalse|ReplaceFalseWithTrue|ReplaceAndWithOr|ReplaceOrWithAnd|ReplaceBreakWithContinue"
    r"|ReplaceContinueWithBreak|ExceptionReplacer|NumberReplacer|RemoveDecorator|ZeroIterationForLoop"
    r"|ReplaceUnaryOperator_(USub_UAdd|Delete_Not|Delete_Invert)"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_FloorDiv|Div_Mul|FloorDiv_Mul|Mod_FloorDiv|Pow_Mul|RShift_LShift"
    r"|LShift_RShift|BitOr_BitAnd|BitAnd_BitOr|BitXor_BitOr)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is|Lt_LtE|Lt_Gt|LtE_Lt|LtE_GtE|Gt_GtE|Gt_Lt|GtE_Gt"
    r"|GtE_LtE))|own/RemoveCall"
)


class RemoveCall(Operator):  # type: ignore[misc]
    """A statement that is nothing but a call is left out: what cosmic-ray has no operator for, and what guards are here."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        if node.type == "atom_expr" and node.parent.type == "simple_stmt" and node.children[-1].get_code()[0] == "(":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return Keyword("pass", node.start_pos, node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> Sequence[Any]:
        return ()


OPERATOR_PROVIDERS["own"] = {"RemoveCall": RemoveCall}


OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Is: ast.IsNot, ast.Eq: ast.NotEq, ast.In: ast.NotIn}
OPPOSITE |= {other: one for one, other in OPPOSITE.items()}


class Essence(ast.NodeTransformer):
    """What a module does. A mutant that differs only in what is taken away here means nothing, and is not counted.

    Taken away: annotations, docstrings, logging, assertions (those of ``zip`` too), casts, aliases of types (the names
    in camel case), slots, frozen, kw_only. What two operators write in two ways, like ``not a is b`` and ``a is not b``, is
    made one.
    """

    def visit(self, node: Any) -> Any:
        for name in ("annotation", "returns"):
            if hasattr(node, name):
                setattr(node, name, None)
        match node:
            case ast.Assert() | ast.Expr(ast.Constant()) | ast.Expr(ast.Call(ast.Attribute(ast.Name("logger")))):
                return ast.Pass()
            case ast.Assign([ast.Name(name)]) if re.fullmatch("__slots__|[A-Z]|[A-Z][a-z].*", name):
                return ast.Pass()
            case ast.Call(ast.Name("zip")):
                node.keywords = []
            case ast.Call(ast.Name("cast")):
                node.args[0] = ast.Constant(None)
            case ast.Call(ast.Name("dataclass")):
                node.keywords = [each for each in node.keywords if each.arg not in ("slots", "frozen", "kw_only")]
            case ast.UnaryOp(ast.Not(), ast.UnaryOp(ast.Not(), inner)):
                return self.visit(inner)
            case ast.UnaryOp(ast.Not(), ast.Compare(ops=[one]) as inner) if type(one) in OPPOSITE:
                inner.ops = [OPPOSITE[type(one)]()]
                return self.visit(inner)
        return self.generic_visit(node)


def essence(code: str) -> str | None:
    """None if it is no Python."""
    try:
        return ast.dump(Essence().visit(ast.parse(code)))
    except SyntaxError:
        return None


def mutated(code: str, spec: MutationSpec) -> str:
    text = mutate_code(code, get_operator(spec.operator_name)(**spec.operator_args), spec.occurrence)
    assert text is not None, spec
    return str(text)


def is_large(lines: Sequence[str], spec: MutationSpec) -> bool:
    """Whether a number of four digits or more is replaced by its neighbour, which makes no difference to anybody."""
    line, column = spec.start_pos
    number = re.match(r"[0-9_]*", lines[line - 1][column:])
    return spec.operator_name == "core/NumberReplacer" and number is not None and len(number[0].replace("_", "")) > 3


def draw(session: WorkDB, module: Module) -> None:
    """Fill a session with mutants that mean something; the results of those that were in it before are kept.

    A mutant's id is made of what it changes and where, so that it stays the same when other lines change; those with the
    lowest ids are the sample.
    """
    results, code = dict(session.results), Path(module.path).read_text()
    lines = code.splitlines()
    init([Path(module.path)], session, {})
    known, found, seen = {None, essence(code)}, {}, Counter[str]()
    for item in session.work_items:
        spec = item.mutations[0]
        if not OPERATORS.fullmatch(spec.operator_name) or is_large(lines, spec):
            continue
        text = mutated(code, spec)
        if (what := essence(text)) not in known:
            known.add(what)
            name = f"{SEED} {module.path} {spec.definition_name} {spec.operator_name} {change(code, text)}"
            seen[name] += 1
            found[hashlib.sha256(f"{name} {seen[name]}".encode()).hexdigest()[:16]] = spec
    ids = sorted(found)[: None if module.pure else SAMPLE]
    session.clear()
    session.add_work_items(WorkItem.single(id, found[id]) for id in ids)
    for id in results.keys() & ids:
        session.set_result(id, results[id])


def change(before: str, after: str) -> str:
    """A diff in one line."""
    old, new = before.splitlines(), after.splitlines()
    start = next(
        (at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new))
    )
    left, right = old[start:], new[start:]
    while left and right and left[-1] == right[-1]:
        left.pop(), right.pop()
    return " ".join(["-", *map(str.strip, left), "+", *map(str.strip, right)])
