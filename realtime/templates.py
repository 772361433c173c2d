"""Templates: texts with placeholders, kept by a tenant and filled for a notification.

Liquid without loops, ranges, assignments and filters that make long texts of short ones, and with few parts: filling it
can't take much time or memory, whatever the values are. They are data; nothing in them is read as template text.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

from liquid import BoundTemplate, DictLoader, Environment, StrictUndefined
from liquid.exceptions import LiquidError
from sqlalchemy import Connection

from realtime.schema import documents, shapes
from realtime.schema.bodies import ChangeTemplate, CreateTemplate, PreviewTemplate, Variant
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from storage import audit, templates
from storage.database import Database
from storage.errors import FieldError, Invalid, NotFound
from storage.templates import Template
from storage.transaction import Command, Tx

PERMISSION = "templates.manage"
TAGS = {"#", "comment", "if", "unless", "case", "raw", "content", "output", "illegal"}
FILTERS = {
    "abs", "at_least", "at_most", "capitalize", "ceil", "default", "divided_by", "downcase", "floor", "lstrip",
    "minus", "modulo", "plus", "round", "rstrip", "size", "slice", "strip", "truncate", "truncatewords", "upcase",
}  # fmt: skip
MARKUP = re.compile(r"{{.*?}}|{%.*?%}", re.S)
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


class Sandbox(Environment):
    output_stream_limit = 64 * 1024
    local_namespace_limit = 1024
    loop_iteration_limit = 1000
    context_depth_limit = 8
    block_nesting_limit = 16

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, loader=DictLoader({}))
        for have, allowed in ((self.tags, TAGS), (self.filters, FILTERS)):
            for name in set(have) - allowed:
                del have[name]


SANDBOX = Sandbox()


@lru_cache(maxsize=1024)
def compiled(source: str) -> tuple[BoundTemplate, frozenset[str]]:
    """The template of a text, and the placeholders that it uses. Raises LiquidError."""
    if any(".." in QUOTED.sub("", part) for part in MARKUP.findall(source)):
        raise LiquidError("ranges are not available", token=None)
    template = SANDBOX.from_string(source)
    used = template.analyze(include_partials=False)
    for name in sorted(used.filters.keys() - FILTERS):
        raise LiquidError(f"unknown filter '{name}'", token=None)
    return template, frozenset(used.globals)


class Filled(NamedTuple):
    category: str
    title: str
    message: str


def check(field: str, source: str | None, limits: Limits) -> Iterable[FieldError]:
    """What is wrong with a text that shall be a template."""
    source = source or ""
    if len(MARKUP.findall(source)) > limits.template_parts:
        yield FieldError(field, f"may not have more than {limits.template_parts} placeholders and tags")
        return
    try:
        compiled(source)
    except (LiquidError, RecursionError) as error:
        yield FieldError(field, f"is no template that can be used here: {first_line(error)}")


def first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:200]


def variant_of(template: Template, locale: str | None) -> Mapping[str, str]:
    """What the template says otherwise for a locale like ``tr-TR``: that of the region, else that of the language."""
    variants = {name.casefold(): variant for name, variant in template.locales.items()}
    wanted = (locale or "").replace("_", "-").casefold()
    return variants.get(wanted) or variants.get(wanted.split("-")[0]) or {}


def fill(template: Template, placeholders: Mapping[str, Any], locale: str | None, limits: Limits) -> Filled:
    """Raises Invalid, with every placeholder that is missing by name."""
    variant = variant_of(template, locale)
    sources = {name: variant.get(name, getattr(template, name)) for name in ("title", "message")}
    try:
        parts = {name: compiled(source) for name, source in sources.items()}
        missing = sorted(frozenset[str]().union(*(used for _, used in parts.values())) - placeholders.keys())
        if missing:
            raise Invalid(
                details=[FieldError(f"placeholders.{name}", "is required by the template") for name in missing]
            )
        texts = {name: part.render(placeholders) for name, (part, _) in parts.items()}
    except (LiquidError, ArithmeticError, ValueError, TypeError, RecursionError) as error:
        raise Invalid.field("placeholders", f"do not fit the template: {first_line(error)}") from None
    most_characters = {"title": limits.title, "message": limits.notification_message}
    for name, text in texts.items():
        if not text.strip() or len(text) > most_characters[name]:
            raise Invalid.field("placeholders", f"must produce a {name} of 1 to {most_characters[name]} characters")
    return Filled(variant.get("category", template.category), texts["title"], texts["message"])


class Templates:
    """For ``templates.manage``. Raises NotFound for a key that the tenant has not, as for another's tenantId."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self.database = database
        self.limits = limits

    async def add(self, caller: Caller, body: CreateTemplate) -> shapes.TemplateDocument:
        """Raises Invalid for a template that can't be parsed, Conflict if the key is taken."""
        await asyncio.to_thread(check_all, body.title, body.message, body.locales, self.limits)
        require_tenant(caller, body.tenantId)
        values = values_of(body) | {"key": body.key}
        make = partial(templates.add, tenant_pk=caller.user.tenant_pk, values=values)
        return await self._write(caller, "template.create", body.key, make)

    async def page(self, caller: Caller, *, after: int, limit: int) -> list[tuple[int, shapes.TemplateDocument]]:
        """In the order they were made, each with its place."""
        found = await self.database.read(lambda it: templates.page(it, caller.user.tenant_pk, after=after, limit=limit))
        return [(each.pk, documents.template(each, caller.user.tenant)) for each in found]

    async def get(self, caller: Caller, key: str) -> shapes.TemplateDocument:
        found = await self.database.read(lambda connection: existing(connection, caller, key))
        return documents.template(found, caller.user.tenant)

    async def change(self, caller: Caller, key: str, body: ChangeTemplate) -> shapes.TemplateDocument:
        await asyncio.to_thread(check_all, body.title, body.message, body.locales or {}, self.limits)
        if body.tenantId is not None:
            require_tenant(caller, body.tenantId)

        def apply(tx: Tx) -> Template:
            existing(tx.connection(), caller, key)
            return templates.change(tx, caller.user.tenant_pk, key, values_of(body))

        return await self._write(caller, "template.change", key, apply)

    async def remove(self, caller: Caller, key: str) -> shapes.TemplateDocument:
        def apply(tx: Tx) -> Template:
            found = existing(tx.connection(), caller, key)
            templates.remove(tx, caller.user.tenant_pk, key)
            return found

        return await self._write(caller, "template.delete", key, apply)

    async def preview(self, caller: Caller, key: str, body: PreviewTemplate) -> shapes.PreviewDocument:
        """The texts as a notification would have them; nothing is sent."""
        found = await self.database.read(lambda connection: existing(connection, caller, key))
        filled = fill(found, body.placeholders, body.locale, self.limits)
        return {
            "category": filled.category,
            "title": filled.title,
            "message": filled.message,
            "isActionable": found.actionable,
        }

    async def _write(
        self, caller: Caller, action: str, key: str, change: Callable[[Tx], Template]
    ) -> shapes.TemplateDocument:
        def apply(tx: Tx) -> Template:
            actor = caller.fresh(tx)
            actor.require(PERMISSION)
            audit.add(tx, actor.user, action, key)
            return change(tx)

        lock = f"template:{caller.user.tenant_pk}:{key}"
        return documents.template(await self.database.write(Command(apply, keys=[lock])), caller.user.tenant)


def existing(connection: Connection, caller: Caller, key: str) -> Template:
    """Raises NotFound."""
    found = templates.find(connection, caller.user.tenant_pk, key)
    if found is None:
        raise NotFound
    return found


def require_tenant(caller: Caller, uuid: str) -> None:
    """Another tenant is as one that does not exist. Raises NotFound."""
    if uuid != caller.user.tenant:
        raise NotFound


def check_all(title: str | None, message: str | None, locales: Mapping[str, Variant], limits: Limits) -> None:
    """Raises Invalid with every part that can't be parsed."""
    wrong = [*check("title", title, limits), *check("message", message, limits)]
    for locale, variant in locales.items():
        wrong += [
            *check(f"locales.{locale}.title", variant.title, limits),
            *check(f"locales.{locale}.message", variant.message, limits),
        ]
    if wrong:
        raise Invalid(details=wrong)


def values_of(body: CreateTemplate | ChangeTemplate) -> dict[str, Any]:
    """The columns that a body sets."""
    values = body.model_dump(include={"category", "title", "message"}, exclude_none=True)
    if body.isActionable is not None:
        values["actionable"] = body.isActionable
    if body.locales is not None:
        values["locales"] = {name: each.model_dump(exclude_none=True) for name, each in body.locales.items()}
    return values
