"""What code written for SlyAPI 0.6 relies on: each name, its signature, and where its meaning is tested.

The rule: a row is never taken out. A name that is yet to be built stands in `LATER` too, which can only shrink.
"""
from __future__ import annotations

import ast
import asyncio
import dataclasses
import importlib
import inspect
import subprocess
import sys
import types
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import pytest
from aiohttp import web

from SlyAPI import ApiError, AsyncLazy, AsyncTrans, Auth, OAuth2, UrlApiKey, WebAPI
from SlyAPI.web import JsonMap, JsonType, Method, Request

if TYPE_CHECKING:
    from tests.conftest import Serve

TESTS = Path(__file__).parent

# --- the names, by the module that users import them from ---

IMPORTS = {
    "SlyAPI": """WebAPI OAuth2 UrlApiKey AsyncLazy AsyncTrans OAuth2App OAuth2User OAuth1 OAuth1App OAuth1User
        HeaderApiKey OAuth2ServiceAccount requires_scopes""",
    "SlyAPI.oauth2": "OAuth2",
    "SlyAPI.oauth1": "OAuth1",
    "SlyAPI.web": "JsonMap JsonMapCo JsonScalar ParamsDict ParamType JsonType JsonTypeCo ApiError Request Method",
    "SlyAPI.webapi": "is_dataclass_instance JsonMap WebAPI",
    "SlyAPI.auth": "Auth NoAuth UrlApiKey HeaderApiKey",
    "SlyAPI.asyncy": "unmanage_async_context AsyncLazy AsyncTrans",
    "SlyAPI.flow": "grant_wizard scaffold_wizard",
    "SlyAPI.service_account": "ServiceAccount OAuth2ServiceAccount",
}
LATER: set[str] = set()
STARRED = {module: IMPORTS[module] for module in ("SlyAPI", "SlyAPI.flow", "SlyAPI.asyncy")}
NEVER_STARRED = """datetime date timedelta timezone json csv re os asyncio base64 inspect warn Enum Any TypeVar
    dataclass asdict cast TypedDict Literal sys Scope ScopeSimple main"""

# --- what each takes: 0.6's parameters in 0.6's order; further ones of ours are optional ---

JSON_CALL = "async (path, params=None, json=None, headers=None)"
FORM_CALL = "async (path, params=None, data=None, headers=None)"
ANY_CALL = "async (returns, path, params=None, data=None, headers=None)"

# name: signature | tests that hold its meaning
SURFACE = f"""
WebAPI                       | (auth)                         | test_surface.py::test_a_client_is_made_before_any_loop_runs webapi/test_webapi.py::test_use_form_data_makes_the_body_of_post_a_form
WebAPI.base_url              | str                            | webapi/test_webapi.py::test_base_url_and_path_are_simply_joined webapi/test_webapi.py::test_base_url_may_be_changed_between_calls
WebAPI.get_full_url          | (path)                         | webapi/test_webapi.py::test_every_request_goes_through_get_full_url
WebAPI.get_json              | {JSON_CALL}                    | webapi/test_webapi.py::test_the_answer_is_read_as_json_whatever_its_content_type
WebAPI.post_json             | {JSON_CALL}                    | webapi/test_webapi.py::test_a_json_method_sends_its_verb_query_headers_and_body
WebAPI.put_json              | {JSON_CALL}                    | webapi/test_webapi.py::test_a_json_method_sends_its_verb_query_headers_and_body
WebAPI.delete_json           | {JSON_CALL}                    | webapi/test_webapi.py::test_a_json_method_without_json_sends_no_body
WebAPI.get_text              | {JSON_CALL}                    | webapi/test_webapi.py::test_text_is_read_in_the_encoding_it_names
WebAPI.post_json_empty       | {JSON_CALL}                    | webapi/test_webapi.py::test_an_empty_answer_is_fine_where_none_is_promised
WebAPI.post_form             | {FORM_CALL}                    | webapi/test_webapi.py::test_a_form_that_is_text_goes_out_as_it_is_with_the_callers_only_content_type
WebAPI.put_form              | {FORM_CALL}                    | webapi/test_webapi.py::test_a_form_is_urlencoded_by_the_rules_of_the_query_but_repeats_lists
WebAPI.get_form              | {FORM_CALL}                    | webapi/test_webapi.py::test_get_form_puts_the_fields_into_the_query
WebAPI.post_form_empty       | {FORM_CALL}                    | webapi/test_webapi.py::test_an_empty_answer_is_fine_where_none_is_promised
WebAPI.paginated             | (path, params, limit)          | webapi/test_paginated.py::test_every_page_is_walked_and_the_params_are_left_alone webapi/test_paginated.py::test_nothing_is_asked_before_it_is_needed
WebAPI._get                  | {ANY_CALL}                     | webapi/test_webapi.py::test_the_answer_becomes_what_returns_says
WebAPI._post                 | {ANY_CALL}                     | webapi/test_webapi.py::test_the_answer_becomes_what_returns_says
WebAPI._put                  | {ANY_CALL}                     | webapi/test_webapi.py::test_the_answer_becomes_what_returns_says
WebAPI._patch                | {ANY_CALL}                     | webapi/test_webapi.py::test_the_answer_becomes_what_returns_says
WebAPI._delete               | {ANY_CALL}                     | webapi/test_webapi.py::test_the_answer_becomes_what_returns_says
WebAPI._client               | property                       | webapi/test_webapi.py::test_the_client_is_an_aiohttp_session_made_once webapi/test_webapi_lifetime.py::test_nothing_is_left_open_and_the_end_is_not_delayed
WebAPI._parameter_list_delimiter | str                        | webapi/test_webapi.py::test_a_subclass_may_choose_the_delimiter_of_lists
web.ApiError                 | (status, reason=None, response=None) | webapi/test_webapi.py::test_every_status_from_400_on_is_an_api_error_that_names_it
web.ApiError.from_resposnse  | async (response)               | webapi/test_webapi.py::test_an_api_error_from_an_aiohttp_response_is_made_as_in_0_6
web.Request                  | (method, url)                  | test_surface.py::test_an_auth_of_ones_own_sees_and_changes_the_whole_request
web.Request.send             | (client)                       | test_surface.py::test_a_signed_request_can_be_sent_by_hand
web.Method                   | enum GET POST PUT DELETE PATCH | test_surface.py::test_an_auth_of_ones_own_sees_and_changes_the_whole_request
AsyncLazy                    | (generator)                    | webapi/test_lazy.py::test_awaiting_gives_the_list
AsyncLazy.map                | (change)                       | webapi/test_lazy.py::test_map_changes_every_item_and_can_be_mapped_again
AsyncLazy.wrap               | (function)                     | webapi/test_lazy.py::test_wrap_makes_a_function_lazy_and_keeps_its_name
requires_scopes              | (*scopes)                      | tokens/test_scopes.py::test_a_decorated_method_is_still_a_coroutine_function_with_its_name
asyncy.unmanage_async_context | (manager)                     | webapi/test_lazy.py::test_a_context_is_held_until_close_is_set
webapi.is_dataclass_instance | (value)                        | webapi/test_webapi.py::test_json_that_is_a_dataclass_goes_out_as_its_fields_and_to_json_is_asked
UrlApiKey                    | (param_name, secret)           | test_surface.py::test_a_url_key_is_one_parameter_and_no_header
HeaderApiKey                 | (param_name, secret)           | auth/test_auth.py::test_keys_print_without_their_secret
auth.Auth.sign               | async (client, request)        | test_surface.py::test_an_auth_of_ones_own_sees_and_changes_the_whole_request
auth.Auth.none               | ()                             | auth/test_auth.py::test_no_auth_changes_nothing
OAuth2                       | (app, user, on_refresh=None)   | oauth2/test_signer.py::test_many_calls_after_expiry_refresh_once_and_all_go_out_with_the_new_token oauth2/test_signer.py::test_one_auth_works_in_several_event_loops_one_after_the_other
OAuth2App                    | (id, secret, auth_uri, token_uri) | oauth2/test_app.py::test_our_own_form_is_read_and_written_in_the_order_of_0_6
OAuth2App.from_json_obj      | (obj)                          | oauth2/test_app.py::test_googles_download_is_read_and_its_further_keys_survive
OAuth2App.from_json_file     | (path)                         | oauth2/test_app.py::test_a_file_is_read_and_named_and_left_alone
OAuth2App.auth_url_with_pkce | (redirect_uri, state, scopes)  | oauth2/test_app.py::test_the_url_has_what_rfc_6749_and_rfc_7636_ask_for
OAuth2App.exchange_code      | async (code, verifier, scopes, redirect_uri, client=None) | oauth2/test_signer.py::test_an_exchange_over_the_callers_session_takes_nothing_of_it_but_connections
OAuth2App.refresh            | async (client, user)           | oauth2/test_signer.py::test_the_refresh_token_is_kept_unless_a_new_one_came
OAuth2User                   | (token, refresh_token, expires_at, token_type='Bearer', scopes=[]) | tokens/test_user.py::test_a_naive_time_given_in_code_is_utc
OAuth2User.from_json_obj     | (obj)                          | tokens/test_user.py::test_the_file_format_is_that_of_0_6 tokens/test_user.py::test_a_token_answer_with_created_at_and_no_expires_in_never_expires
OAuth2User.from_json_file    | (path)                         | tokens/test_user.py::test_a_missing_file_is_a_file_not_found
OAuth2User.to_dict           | ()                             | tokens/test_user.py::test_to_dict_gives_back_the_json_that_was_read
flow.grant_wizard            | async (scopesType, dry_run=False, kind=None) | flow/test_wizard.py::test_the_menu_is_the_public_values_of_the_class flow/test_wizard.py::test_an_existing_user_file_is_kept_unless_yes
flow.scaffold_wizard         | (kind=None, override=None)     | flow/test_wizard.py::test_the_override_is_in_the_file
OAuth1                       | (app, user)                    | oauth1/test_signer.py::test_both_are_read_from_files oauth1/test_signer.py::test_what_is_signed_is_what_get_full_url_gives oauth1/test_signer.py::test_each_request_has_a_nonce_of_its_own_and_the_time_in_utc
OAuth1App                    | (key, secret, request_uri, authorize_uri, access_uri) | oauth1/test_app.py::test_asdict_gives_the_file_format
OAuth1App.from_json_obj      | (obj)                          | oauth1/test_app.py::test_what_is_no_client_is_named_and_not_quoted
OAuth1App.from_json_file     | (path)                         | oauth1/test_app.py::test_no_file_is_file_not_found
OAuth1User                   | (key, secret)                  | oauth1/test_app.py::test_asdict_gives_the_file_format
OAuth1User.from_json_obj     | (obj)                          | oauth1/test_app.py::test_a_token_answer_is_read_as_a_user_with_other_keys_beside
OAuth1User.from_json_file    | (path)                         | oauth1/test_app.py::test_no_file_is_file_not_found
OAuth2ServiceAccount         | (account, scopes)              | oauth2/test_service_account.py::test_ten_calls_at_once_make_one_grant oauth2/test_service_account.py::test_the_assertion_states_who_asks_for_what_and_is_signed_with_the_key
"""  # noqa: E501
ROWS = [[cell.strip() for cell in line.split(" | ")] for line in SURFACE.strip().splitlines()]


def exists(dotted: str) -> bool:
    try:
        find(dotted)
    except (ImportError, AttributeError):
        return False
    return True


def find(dotted: str) -> Any:
    """What a name below SlyAPI stands for."""
    words = dotted.removeprefix("SlyAPI").lstrip(".").split(".")
    found: Any = importlib.import_module("SlyAPI")
    for depth, word in enumerate(words, 1):
        if word.islower() and depth < len(words):
            found = importlib.import_module(f"SlyAPI.{word}")
        else:
            found = getattr(found, word)
    return found


IMPORTED = [f"{module}.{name}" for module, names in IMPORTS.items() for name in names.split()]


@pytest.mark.parametrize("name", IMPORTED)
def test_every_name_can_be_imported_from_where_users_import_it(name: str) -> None:
    assert exists(name) is (name not in LATER), f"{name} is there now: take it out of LATER" if exists(name) else name


@pytest.mark.parametrize(("name", "signature"), [row[:2] for row in ROWS], ids=[row[0] for row in ROWS])
def test_every_name_has_its_signature(name: str, signature: str) -> None:
    if f"SlyAPI.{name.partition('.')[0]}" in LATER:
        return
    found = find(name)
    if signature in ("str", "property"):
        assert isinstance(found, str if signature == "str" else property)
    elif signature.startswith("enum "):
        assert issubclass(found, Enum)
        assert [member.value for member in found] == signature.split()[1:]
    else:
        expected = signature.removeprefix("async ")
        assert inspect.iscoroutinefunction(found) is (expected != signature)
        assert takes(found, expected)


def takes(found: Any, expected: str) -> bool:
    """Whether a callable has these parameters first and by position, and no further one that must be given."""
    ours = [p for p in inspect.signature(found).parameters.values() if p.name != "self"]
    theirs = ast.parse(f"def f{expected}: ...").body[0]
    assert isinstance(theirs, ast.FunctionDef)
    arguments = theirs.args
    names = [argument.arg for argument in arguments.args]
    defaults = [ast.literal_eval(default) for default in arguments.defaults]
    first, rest = ours[: len(names)], ours[len(names) :]
    assert [parameter.name for parameter in first] == names
    assert all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in first)
    for parameter, default in zip(first[::-1], defaults[::-1], strict=False):
        factory = getattr(parameter.default, "__name__", "") == "<factory>" or "factory" in repr(parameter.default)
        assert factory or parameter.default == default
    if arguments.vararg:
        assert rest.pop(0).kind is inspect.Parameter.VAR_POSITIONAL
    assert all(parameter.default is not parameter.empty for parameter in rest)
    return True


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_meaning_has_a_test(row: list[str]) -> None:
    name, tests = row[0], row[2]
    later = f"SlyAPI.{name.partition('.')[0]}" in LATER
    assert (tests == "later") is later, f"{name} is there now: name the tests that hold its meaning"
    for test in [] if later else tests.split():
        path, _, function = test.partition("::")
        assert f"def {function}(" in text_of(path), test


@cache
def text_of(path: str) -> str:
    return (TESTS / path).read_text(encoding="utf-8")


# --- imports ---


@pytest.mark.parametrize("module", STARRED)
def test_the_star_brings_the_names_and_hides_none_of_the_users(module: str) -> None:
    """In a process of its own, behind the user's own imports, as it stands in published libraries."""
    wanted = [name for name in STARRED[module].split() if f"{module}.{name}" not in LATER]
    code = (
        f"own = {{name: object() for name in {NEVER_STARRED.split()!r}}}; names = dict(own)\n"
        f"exec('from {module} import *', names)\n"
        f"assert all(names[name] is own[name] for name in own), [n for n in own if names[n] is not own[n]]\n"
        f"assert all(name in names for name in {wanted!r})\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "annotation",
    ["int | JsonMap", "str | OAuth2 | UrlApiKey", "AsyncLazy[int]", "AsyncTrans[str] | None", "JsonType | bytes"],
)
def test_annotations_are_evaluated_at_import(annotation: str) -> None:
    names = dict(JsonMap=JsonMap, JsonType=JsonType, OAuth2=OAuth2, UrlApiKey=UrlApiKey)  # noqa: C408
    exec(f"def f(x: {annotation}) -> {annotation}: ...", {**names, "AsyncLazy": AsyncLazy, "AsyncTrans": AsyncTrans})


def test_the_json_types_are_walked_at_run_time() -> None:
    """A library that makes classes from JSON finds every kind of value in the union, and the union in itself."""
    assert isinstance(JsonType, types.UnionType)
    plain = {part for part in get_args(JsonType) if get_origin(part) is None}
    assert plain == {int, float, bool, str, type(None)}
    nested = {get_origin(part): get_args(part) for part in get_args(JsonType) if get_origin(part) is not None}
    assert nested == {list: ("JsonType",), dict: (str, "JsonType")}
    assert (get_origin(JsonMap), get_args(JsonMap)) == (dict, (str, JsonType))


@pytest.mark.parametrize("name", ["OAuth2App", "OAuth2User", "OAuth1App", "OAuth1User"])
def test_apps_and_users_are_dataclasses(name: str) -> None:
    if f"SlyAPI.{name}" not in LATER:
        assert dataclasses.is_dataclass(find(name))


# --- meanings that have no other home ---


def test_a_client_is_made_before_any_loop_runs() -> None:
    class Old(WebAPI):
        base_url = "https://api.example/"

        def __init__(self, auth: Auth, form: bool) -> None:
            super().__init__(auth, form)
            self.base_url = "https://other.example/v2"

    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    old = Old(UrlApiKey("key", "secret"), True)
    assert (old.get_full_url("/x"), old.use_form_data) == ("https://other.example/v2/x", True)


async def test_a_url_key_is_one_parameter_and_no_header(serve: Serve) -> None:
    server = await serve()
    api = WebAPI(UrlApiKey("key", "a&b c"))
    api.base_url = server.origin
    await api.get_json("/x", {"q": 1})
    assert server.last.query == [("q", "1"), ("key", "a&b c")]
    assert "Authorization" not in server.last.headers


async def test_an_auth_of_ones_own_sees_and_changes_the_whole_request(serve: Serve) -> None:
    seen: list[tuple[Method, str, dict[str, Any]]] = []

    class Own(Auth):
        async def sign(self, client: Any, request: Request) -> Request:
            seen.append((request.method, request.url, dict(request.query_params)))
            request.query_params["stamp"] = 5
            request.headers["X-Signed"] = "yes"
            request.data["signature"] = "s"
            return request

    server = await serve()
    api = WebAPI(Own())
    api.base_url = server.origin
    await api.post_form("/x", {"q": "ü"}, {"a": "1"})
    assert seen == [(Method.POST, f"{server.origin}/x", {"q": "ü"})]
    assert server.last.query == [("q", "ü"), ("stamp", "5")]
    assert (server.last.headers["X-Signed"], server.last.body) == ("yes", b"a=1&signature=s")


async def test_a_signed_request_can_be_sent_by_hand(serve: Serve) -> None:
    """In 0.6 that is how a library reads bytes."""
    server = await serve()

    class Own(WebAPI):
        base_url = server.origin

        async def read(self, request: Request) -> bytes:
            signed = await self.auth.sign(self._client, request)
            async with signed.send(self._client) as response:
                return bytes(await response.read())

    api = Own(UrlApiKey("key", "k"))
    url = api.get_full_url("/x")
    assert await api.read(Request(Method.GET, url, {"q": "a b"}, {"X-Own": "1"})) == b'{"ok": true}'
    assert (server.last.query, server.last.headers["X-Own"]) == ([("q", "a b"), ("key", "k")], "1")
    await api.read(Request(Method.POST, url, data={"a": "1"}))
    await api.read(Request(Method.POST, url, data={"a": 1}, data_is_json=True))
    assert [seen.body for seen in server.seen] == [b"", b"a=1", b'{"a": 1}']


@pytest.mark.parametrize(
    "module", ["asyncy", "auth", "oauth1", "oauth2", "service_account", "web", "webapi"]
)
def test_the_modules_of_0_6_need_no_import_of_their_own(module: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", f"import SlyAPI; SlyAPI.{module}"], check=True, timeout=60)


async def test_an_error_is_not_tried_again(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        raise web.HTTPServiceUnavailable(text="later")

    server = await serve(handler)
    api = WebAPI(Auth.none())
    api.base_url = server.origin
    with pytest.raises(ApiError) as caught:
        await api.get_json("/x")
    assert (caught.value.status, caught.value.reason) == (503, "later")
    assert "503" in str(caught.value)
    assert len(server.seen) == 1
