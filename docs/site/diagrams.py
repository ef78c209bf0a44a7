"""The drawings of the pages: `python -m docs.site.diagrams` writes them into docs/pictures.

The rule: a drawing says what its page says; a test compares the files with this module, and the house with the imports.
"""

from pathlib import Path

from docs.site.drawing import WIDTH, Drawing

PICTURES = Path(__file__).parents[1] / "pictures"

FLOORS: list[tuple[str, list[str]]] = [
    ("commands", ["cli"]),
    ("questions to the user; 0.6's names", ["flow", "asyncy", "service_account"]),
    ("clients and signers", ["webapi", "oauth2", "oauth1", "httpx", "httpx2"]),
    ("where tokens live, the browser, credentials on requests", ["stores", "redirect", "sources", "auth"]),
    ("a grant as a value; the one place a request leaves", ["tokens", "transport"]),
    ("public paths of their own", ["json_file", "params", "paging", "limits", "retry"]),
    ("HTTP messages and JSON as plain data", ["web"]),
    ("what everything may import", ["errors", "names"]),
]
"""The wings from the top floor down: each imports only from floors below its own."""
APART = ["testing"]


def house() -> str:
    """The wings, floor by floor."""
    drawing = Drawing(
        "The wings of SlyAPI",
        "Floors from top to bottom; a wing imports only from the floors below. "
        + "; ".join(f"{', '.join(rooms)}: {purpose}" for purpose, rooms in FLOORS)
        + ". testing stands apart and shares no code with the client.",
    )
    y, left, width = 8.0, 8.0, WIDTH - 16.0
    for number, (purpose, rooms) in enumerate(FLOORS):
        drawing.text(left, y + 12, f"~{purpose}")
        each = (width - 8 * (len(rooms) - 1)) / len(rooms)
        for place, room in enumerate(rooms):
            kind = "blue" if room in ("webapi", "oauth2", "oauth1") else "box"
            drawing.box(left + place * (each + 8), y + 18, each, 30, [f"'{room}"], kind)
        y += 66
        if number < len(FLOORS) - 1:
            drawing.arrow((WIDTH / 2, y - 17), (WIDTH / 2, y - 3))
    drawing.box(left, y + 2, width, 46, ["'testing", "~the practice provider shares no code with the client"], "ghost")
    return drawing.svg(y + 56)


def refresh() -> str:
    """Many calls, one refresh."""
    drawing = Drawing(
        "One refresh",
        "Calls whose token is due or refused wait for one refresh per user and event loop. It locks the user's "
        "entry, loads it, sends the token request, saves, uses the new tokens, unlocks, and runs on_refresh; then "
        "the calls go on. A cancel does not interrupt the token request, the save and the hook. Other threads, "
        "processes and machines wait for the lock, load, and find the new tokens. If the store refuses the save, the"
        " calls go on with the new tokens and the save is tried again while the lock is kept.",
    )
    for x in (40, 120, 200):
        drawing.box(x, 8, 64, 28, ["call"])
        drawing.arrow((x + 32, 36), (152, 66) if x != 120 else (152, 64))
    drawing.text(282, 20, "~the token is due, or")
    drawing.text(282, 36, "~the API refused it")
    steps = ["refresh", "lock", "load", "token request", "save", "use", "unlock", "on_refresh"]
    for number, step in enumerate(steps):
        kind = "green" if step in ("token request", "save", "on_refresh") else "blue" if step == "lock" else "box"
        drawing.box(72, 66 + 50 * number, 160, 32, [step], kind)
        if number:
            drawing.arrow((152, 48 + 50 * number), (152, 65 + 50 * number))
    drawing.arrow((152, 448), (152, 470))
    drawing.text(152, 486, "the calls go on", anchor="middle")
    drawing.text(252, 86, "~one for each user and event loop")
    drawing.box(284, 100, 188, 62, ["other threads,", "processes, machines", "~wait for the lock, then load"], "ghost")
    drawing.arrow((284, 132), (234, 132))
    drawing.text(252, 186, "~newer tokens there? use them")
    drawing.text(252, 236, "~a cancel does not interrupt the")
    drawing.text(252, 252, "~green steps")
    refused = ["the store refuses:", "use, on_refresh, go on;", "try again until saved;", "~the lock is kept"]
    drawing.box(284, 284, 188, 96, refused, "ghost")
    drawing.arrow((232, 282), (262, 282), (262, 320), (283, 320))
    drawing.text(252, 438, "~with the new tokens, already saved")
    return drawing.svg(498)


GRANT = (
    "Between a person's browser, the program, and the provider: the program listens on a loopback port, then "
    "prints and opens the authorization URL with state and PKCE challenge; the person consents at the provider; "
    "the provider redirects the browser to the program with a code; the program checks state and issuer, "
    "exchanges the code and the verifier for tokens, saves the user file, and only then shows the browser its "
    "page."
)


def grant() -> str:
    """One grant, as a conversation of three."""
    drawing = Drawing("One grant", GRANT)
    lanes = {"browser": 64.0, "program": 232.0, "provider": 408.0}
    for name, label in (("browser", "browser"), ("program", "grant"), ("provider", "provider")):
        drawing.box(lanes[name] - 52, 8, 104, 32, [f"*{label}"], "blue" if name == "program" else "box")
        drawing.arrow((lanes[name], 40), (lanes[name], 488), kind="line")
    y = 70.0

    def itself(lane: str, *lines: str) -> None:
        nonlocal y
        height = 12.0 + 17 * len(lines)
        drawing.box(lanes[lane] - 80, y - 8, 160, height, lines, "box")
        y += height + 22

    def message(start: str, end: str, *lines: str) -> None:
        nonlocal y
        for line in lines:
            drawing.text((lanes[start] + lanes[end]) / 2, y, f"~{line}", anchor="middle")
            y += 15
        shift = 4 if lanes[end] > lanes[start] else -4
        drawing.arrow((lanes[start] + shift, y - 6), (lanes[end] - shift, y - 6))
        y += 24

    itself("program", "listen on loopback")
    message("program", "browser", "open the URL with", "state and challenge")
    message("browser", "provider", "the person consents")
    message("provider", "browser", "redirect with code, state, iss")
    message("browser", "program", "to the loopback port")
    itself("program", "check state and iss")
    message("program", "provider", "code and verifier")
    message("provider", "program", "tokens")
    itself("program", "save the user file")
    message("program", "browser", "“signed in”")
    return drawing.svg(y)


QUESTIONS = [
    (["Does the API take a fixed key?"], ["an API key"]),
    (["Does the program call as itself?"], ["client credentials,", "or a service account"]),
    (["Does the program hold", "another token already?"], ["token exchange,", "or an assertion"]),
    (["Is there a browser", "that can come back?"], ["the authorization", "code"]),
    (["Does the provider have", "a device endpoint?"], ["the device flow"]),
]


def which_grant() -> str:
    """Five questions; the first yes decides."""
    answers = [f"{' '.join(question)} Yes: {' '.join(way)}." for question, way in QUESTIONS]
    answers.append("No to all: print the link and paste the last address, grant --paste.")
    drawing = Drawing("Which grant do I need?", " ".join(answers))
    for number, (question, way) in enumerate(QUESTIONS):
        y = 8.0 + 74 * number
        drawing.text(18, y + 27, f"*{number + 1}")
        drawing.box(36, y, 228, 46, question)
        drawing.box(316, y, 156, 46, way, "green")
        drawing.arrow((264, y + 23), (314, y + 23))
        drawing.text(289, y + 17, "~yes", anchor="middle")
        drawing.arrow((150, y + 46), (150, y + 72))
        drawing.text(158, y + 63, "~no")
    drawing.box(36, 378, 228, 46, ["print the link, paste the last", "address: grant --paste"])
    return drawing.svg(432)


DRAWINGS = {"house": house, "refresh": refresh, "grant": grant, "which-grant": which_grant}


def main() -> None:
    """Writes all of them."""
    for name, draw in DRAWINGS.items():
        (PICTURES / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
