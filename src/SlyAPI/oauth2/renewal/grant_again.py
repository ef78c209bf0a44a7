"""The command with which a person grants, for the next step of an error: again, or for the first time.

The rule: it can be copied as it is where the files or the store are known, and shows no URL that may hold a password.
"""

from ...errors import GrantEndedError, printable
from ...json_file import StrPath, display_path
from ...stores.contract import StoredUser
from ...tokens.recognise import HINT
from ...web.next_steps import quoted
from ..accounts import account_at, log_in
from ..messages.token_endpoint import GRANT_AGAIN


def name_command(error: GrantEndedError, app_path: StrPath | None, entry: StoredUser | None) -> None:
    """Names the client file and the user in the error's next step; each of them may be unknown."""
    if error.next_step == GRANT_AGAIN:
        error.next_step = grant_again(app_path, entry)


def grant_again(app_path: StrPath | None, entry: StoredUser | None) -> str:
    """`GRANT_AGAIN` with the client file and the user."""
    if app_path is not None and (name := account_at(app_path)):
        return log_in(name)
    from ...stores.at import command_words  # and all stores with it

    app = [] if app_path is None else [display_path(app_path)]
    user = [] if entry is None else [printable(word, 200) for word in command_words(entry)]
    if app and user[:1] == ["--user"]:
        user = user[1:]
    return f"{GRANT_AGAIN} {quoted(*app, *user)}".rstrip()


def first_grant(app_path: StrPath, user_path: StrPath) -> str:
    """The next step where there is no user file yet."""
    if name := account_at(app_path):
        return log_in(name)
    return f"{HINT} {quoted(display_path(app_path), display_path(user_path))}"
