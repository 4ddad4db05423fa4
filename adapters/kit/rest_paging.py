"""How a service gives a long list: which address is asked next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx


class RestPage(Protocol):
    """An answer with some items of a list: where it came from, what its body and headers say, and the number of its items."""

    @property
    def url(self) -> httpx.URL: ...

    @property
    def body(self) -> Any: ...

    @property
    def links(self) -> Mapping[str, Mapping[str, str]]: ...

    @property
    def count(self) -> int: ...


class Paging(Protocol):
    """A way of giving a list in pages."""

    def first(self, url: httpx.URL, size: int) -> httpx.URL: ...

    def following(self, page: RestPage, size: int) -> str | httpx.URL | None:
        """The address of the next page, or a link to it; None if this was the last one."""


@dataclass(frozen=True, slots=True)
class Links:
    """
    The answer says where the next page is: in a `Link` header (RFC 8288, `rel="next"`), or in a `field` of its body, such as
    `@odata.nextLink`. `size` is the parameter by which a number of records is asked for, if there is one.
    """

    field: str = ""
    size: str = ""

    def first(self, url: httpx.URL, size: int) -> httpx.URL:
        return url.copy_set_param(self.size, size) if self.size else url

    def following(self, page: RestPage, size: int) -> str | httpx.URL | None:
        if not self.field:
            return page.links.get("next", {}).get("url")
        link = at(page.body, self.field)
        return link if isinstance(link, str) and link else None


ODATA = Links("@odata.nextLink")


@dataclass(frozen=True, slots=True)
class Numbered:
    """Pages have numbers: `?page=2&per_page=500`. The list ends with an empty page: a short one proves nothing."""

    page: str = "page"
    size: str = "per_page"
    begins: int = 1

    def first(self, url: httpx.URL, size: int) -> httpx.URL:
        return url.copy_merge_params({self.page: self.begins, self.size: size})

    def following(self, page: RestPage, size: int) -> str | httpx.URL | None:
        return page.url.copy_set_param(self.page, int(page.url.params[self.page]) + 1) if page.count else None


@dataclass(frozen=True, slots=True)
class Offset:
    """Records have numbers: `?offset=500&limit=500`. The list ends with an empty page."""

    offset: str = "offset"
    size: str = "limit"

    def first(self, url: httpx.URL, size: int) -> httpx.URL:
        return url.copy_merge_params({self.offset: 0, self.size: size})

    def following(self, page: RestPage, size: int) -> str | httpx.URL | None:
        if not page.count:
            return None
        return page.url.copy_set_param(self.offset, int(page.url.params[self.offset]) + page.count)


@dataclass(frozen=True, slots=True)
class CursorField:
    """The body says in `field` by which value of the `parameter` the next page is asked for."""

    field: str
    parameter: str
    size: str = ""

    def first(self, url: httpx.URL, size: int) -> httpx.URL:
        return url.copy_set_param(self.size, size) if self.size else url

    def following(self, page: RestPage, size: int) -> str | httpx.URL | None:
        cursor = at(page.body, self.field)
        return page.url.copy_set_param(self.parameter, str(cursor)) if cursor not in (None, "", False) else None


def at(body: Any, path: str) -> Any:
    """Look a value up by a path of names with dots, or by the whole path as one name; None if there is no such value."""
    if not path:
        return body
    if isinstance(body, Mapping) and path in body:
        return body[path]
    for name in path.split("."):
        body = body.get(name) if isinstance(body, Mapping) else None
    return body


def items_of(body: Any, path: str) -> Sequence[Mapping[str, Any]] | None:
    """The items of an answer; None if there is no list of objects at that path."""
    found = at(body, path)
    whole = isinstance(found, list) and all(isinstance(each, Mapping) for each in found)
    return found if whole else None
