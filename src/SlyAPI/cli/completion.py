"""Prints a script that completes commands, flags and their values in a shell: completion.

The rule: generated from the parsers, so that it knows what they know. Pure, except for printing.
"""

import argparse
from typing import Any

from ..flow.console import Console
from ..oauth2.client.providers import PROVIDERS
from .arguments import parser_of
from .commands import COMMANDS
from .results import print_result

_KNOWN_VALUES = {"--provider": list(PROVIDERS)}
_TAKES_ACCOUNT = ("login", "logout", "show", "token", "call", "refresh", "revoke", "doctor", "serve", "exec")
_NAMES = "$(slyapi accounts --names 2>/dev/null)"


def completion(args: Any, console: Console) -> int:
    """Prints the completion script of a shell."""
    print_result(*completion_script(args.shell).splitlines())
    return 0


def completion_script(shell: str) -> str:
    """The script for `bash`, `zsh`, `fish` or `powershell`, which completes `slyapi`."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish, "powershell": _powershell}[shell]()


def _flags(command: str) -> list[argparse.Action]:
    return [action for action in parser_of(command)._actions if "--help" in action.option_strings or _flag(action)]


def _flag(action: argparse.Action) -> str:
    return next((name for name in action.option_strings if name.startswith("--")), "")


def _values(action: argparse.Action) -> list[str]:
    return [str(choice) for choice in (action.choices or _KNOWN_VALUES.get(_flag(action)) or ())]


def _takes_value(action: argparse.Action) -> bool:
    return action.nargs != 0


def _words(command: str) -> list[str]:
    """The values of a command's positional argument, if it has a fixed list of them."""
    if command == "login":
        return list(PROVIDERS)
    return next((list(a.choices) for a in parser_of(command)._actions if a.choices and not a.option_strings), [])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _bash() -> str:
    cases: list[str] = []
    for command in COMMANDS:
        for action in _flags(command):
            if values := _values(action):
                cases.append(f'        "{command} {_flag(action)}") words="{" ".join(values)}" ;;')
        flags = " ".join(_flag(action) for action in _flags(command))
        plain = " ".join([*_words(command), *([_NAMES] if command in _TAKES_ACCOUNT else [])])
        cases.append(f'        "{command} "*) case $cur in -*) words="{flags}" ;; *) words="{plain}" ;; esac ;;')
    return "\n".join(
        [
            "# source <(slyapi completion bash)",
            "_slyapi() {",
            '    local words="" cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}',
            '    case "${COMP_WORDS[1]} $prev" in',
            f'        *" ${{COMP_WORDS[0]}}") words="{" ".join(COMMANDS)} --help --version" ;;',
            *cases,
            "    esac",
            '    COMPREPLY=($(compgen -W "$words" -- "$cur"))',
            "}",
            "complete -o default -F _slyapi slyapi",
        ]
    )


def _zsh() -> str:
    lines = ["#compdef slyapi", "# source <(slyapi completion zsh)"]
    lines += [f'_slyapi_names() {{ compadd -- ${{(f)"{_NAMES}"}}; _files }}']
    lines += ["_slyapi() {", "    if (( CURRENT == 2 )); then"]
    lines += ["        local -a commands=("]
    lines += [f"            {_quoted(f'{name}:{text}')}" for name, text in COMMANDS.items()]
    lines += ["        )", "        _describe command commands", "        return", "    fi"]
    lines += ["    local command=$words[2]", "    shift words", "    (( CURRENT-- ))", "    case $command in"]
    for command in COMMANDS:
        specs = [_zsh_flag(action) for action in _flags(command)]
        plain = f"({' '.join(_words(command))})" if _words(command) else "_files"
        plain = "_slyapi_names" if command in _TAKES_ACCOUNT else plain
        lines.append(f"        {command}) _arguments {' '.join(specs)} {_quoted(f'*:word:{plain}')} ;;")
    lines += ["    esac", "}", "if [[ ${funcstack[1]} == _slyapi ]]; then"]
    lines += ['    _slyapi "$@"  # loaded from a folder of $fpath', "else", "    compdef _slyapi slyapi", "fi"]
    return "\n".join(lines)


def _zsh_flag(action: argparse.Action) -> str:
    text = "".join(f"\\{c}" if c in "[]:\\" else c for c in _text(action))
    value = f":value:({' '.join(_values(action))})" if _values(action) else ":value:_files"
    return _quoted(f"*{_flag(action)}[{text}]{value if _takes_value(action) else ''}")


def _text(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


def _fish() -> str:
    lines = ["# slyapi completion fish | source", "complete -c slyapi -n __fish_use_subcommand -f"]
    for command, text in COMMANDS.items():
        lines.append(f"complete -c slyapi -n __fish_use_subcommand -a {command} -d {_quoted(text)}")
        begin = f"complete -c slyapi -n '__fish_seen_subcommand_from {command}'"
        for action in _flags(command):
            value = " -r" if _takes_value(action) else ""
            value += f" -f -a {_quoted(' '.join(_values(action)))}" if _values(action) else ""
            lines.append(f"{begin} -l {_flag(action)[2:]}{value} -d {_quoted(_text(action))}")
        if _words(command):
            lines.append(f"{begin} -f -a {_quoted(' '.join(_words(command)))}")
        if command in _TAKES_ACCOUNT:
            lines.append(f"{begin} -a {_quoted(_NAMES[1:])}")
    return "\n".join(lines)


def _powershell() -> str:
    rows: list[str] = []
    for command in COMMANDS:
        rows.append(f"        '{command}' = '{' '.join(_words(command))}'")
        rows.append(f"        '{command} -' = '{' '.join(_flag(action) for action in _flags(command))}'")
        for action in _flags(command):
            if values := _values(action):
                rows.append(f"        '{command} {_flag(action)}' = '{' '.join(values)}'")
    script = _POWERSHELL.replace("COMMANDS", " ".join(COMMANDS)).replace("NAMES", " ".join(_TAKES_ACCOUNT))
    return script.replace("        OFFERS", "\n".join(rows))


_POWERSHELL = """\
# slyapi completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName slyapi -ScriptBlock {
    param($word, $ast, $cursor)
    $offers = @{
        OFFERS
    }
    $offer = 'COMMANDS --help --version'
    $words = @($ast.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursor })
    if ($words.Count -gt 1) {
        $command = "$($words[1])"
        $offer = $offers[$command]
        if (-split 'NAMES' -contains $command) { $offer = "$offer $(slyapi accounts --names 2>$null)" }
        if ($word -like '-*') { $offer = $offers["$command -"] }
        $before = "$command $($words[-1])"
        if ($offers.ContainsKey($before)) { $offer = $offers[$before] }
    }
    -split $offer | Where-Object { $_ -like "$word*" } | ForEach-Object {
        [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
    }
}"""
