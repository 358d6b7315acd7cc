"""Small faults that can be put into the code of a module, each a change of one place.

Comparisons and arithmetic are swapped, constants changed by one, conditions negated, returned
values dropped, statements deleted. Docstrings, annotations, decorators, imports, ``__all__``,
assertions, what is raised and what is logged are left alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
LOGGING = {"debug", "info", "warning", "warn", "error", "exception", "log"}
LONGEST = 70  # characters of a shown line


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        index: among the faults of its source, for :func:`mutated`.
        line: where, from 1.
        kind: of the change.
        change: the code before and after.
    """

    index: int
    line: int
    kind: str
    change: str


@dataclass(frozen=True)
class Site:
    """A child of a node, and what takes its place.

    Attributes:
        owner: the node.
        field: the attribute of it that holds the child.
        place: of the child in that attribute, where it is a list.
        new: the replacement.
        kind: of the change.
        line: in the source.
    """

    owner: ast.AST
    field: str
    place: int | None
    new: ast.AST
    kind: str
    line: int

    def put(self, node: ast.AST) -> ast.AST:
        """Set the child to ``node``; what it was."""
        if self.place is None:
            old = getattr(self.owner, self.field)
            setattr(self.owner, self.field, node)
        else:
            children = getattr(self.owner, self.field)
            old, children[self.place] = children[self.place], node
        found: ast.AST = old
        return found

    def change(self) -> str:
        """The code before and after, in one line."""
        small = isinstance(self.owner, ast.expr | ast.keyword | ast.Return | ast.AugAssign)
        before = _line(self.owner) if small else ""
        old = self.put(self.new)
        texts = (before, _line(self.owner)) if small else (_line(old), _line(self.new))
        self.put(old)
        return "  ->  ".join(texts)


def _line(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def mutants(source: str) -> list[Mutant]:
    r"""All faults of a source, in the order of its code.

    >>> [mutant.change for mutant in mutants("def f(x):\n    return x < 1\n")]
    ['return x < 1  ->  return None', 'x < 1  ->  x <= 1', 'x < 1  ->  x < 2']
    """
    sites = enumerate(_sites(ast.parse(source)))
    return [Mutant(index, site.line, site.kind, site.change()) for index, site in sites]


def mutated(source: str, index: int) -> ast.Module:
    """The code of a source with one of its faults, to be compiled.

    Args:
        source: of a module.
        index: of the fault.
    """
    tree = ast.parse(source)
    site = list(_sites(tree))[index]
    site.put(site.new)
    return ast.fix_missing_locations(tree)


def _sites(tree: ast.Module) -> list[Site]:
    return list(_inside(tree, function=None))


def _inside(node: ast.AST, function: ast.AST | None) -> Iterator[Site]:
    """Sites below ``node``, which is in the body of ``function``."""
    if isinstance(node, ast.FunctionDef):
        function = node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for place, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST) and not _left_alone(child):
                at = place if isinstance(value, list) else None
                yield from _at(node, field, at, child, function)
                yield from _inside(child, function)


def _left_alone(node: ast.AST) -> bool:
    """Whether nothing in this node is changed."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.Assert | ast.JoinedStr):
        return True
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        return True
    if isinstance(node, ast.Call):  # of a logger, or of an error that is made here and raised there
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        return (isinstance(called, ast.Attribute) and name in LOGGING) or name.endswith("Error")
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _at(
    owner: ast.AST, field: str, place: int | None, child: ast.AST, function: ast.AST | None
) -> Iterator[Site]:
    """What may take the place of ``child``."""
    line = int(getattr(child, "lineno", getattr(owner, "lineno", 0)))

    def site(kind: str, new: ast.AST) -> Site:
        return Site(owner, field, place, new, kind, line)

    if type(child) in SWAPS:
        kind = "comparison" if isinstance(owner, ast.Compare) else "operator"
        yield site(kind, SWAPS[type(child)]())
    if isinstance(child, ast.UnaryOp) and isinstance(child.op, ast.USub | ast.Not):
        yield site("operator", child.operand)
    elif field in ("test", "ifs") and isinstance(child, ast.expr):
        yield site("condition", ast.UnaryOp(ast.Not(), child))
    if isinstance(child, ast.Constant):
        kind = "default" if isinstance(owner, ast.arguments) else "constant"
        new: Any = None
        if isinstance(child.value, bool):
            new = not child.value
        elif isinstance(child.value, int | float):
            new = child.value + 1
        if new is not None:
            yield site(kind, ast.Constant(new))
    if function is None or not isinstance(child, ast.stmt):
        return
    if isinstance(child, ast.Return) and child.value is not None and not _is_none(child.value):
        yield Site(child, "value", None, ast.Constant(None), "return", line)
    if _can_go(child, function):
        yield site("deletion", ast.Pass())


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _can_go(node: ast.stmt, function: ast.AST) -> bool:
    """Whether the code around a statement runs without it: no name is left without a value."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call) and not _left_alone(node.value)
    if isinstance(node, ast.AugAssign):
        return True
    if not isinstance(node, ast.Assign):
        return False
    names = {n.id for t in node.targets for n in ast.walk(t) if _is_bound(n)}  # type: ignore[attr-defined]
    return names <= _bound_before(function, node)


def _is_bound(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _bound_before(function: ast.AST, statement: ast.stmt) -> set[str]:
    """Arguments of a function, and names that it binds above a statement."""
    names = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    for node in ast.walk(function):
        if _is_bound(node) and node.lineno < statement.lineno:  # type: ignore[attr-defined]
            names.add(node.id)  # type: ignore[attr-defined]
    return names
