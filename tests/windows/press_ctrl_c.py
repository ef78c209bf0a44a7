"""Presses Ctrl-C in the console of another process: python press_ctrl_c.py PID

A console event goes to all processes of the console that the sender is attached to, so a process of its own sends it.
"""
from __future__ import annotations

import ctypes
import sys
import time
from typing import Any

if __name__ == "__main__":
    kernel: Any = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    kernel.FreeConsole()
    attached = kernel.AttachConsole(int(sys.argv[1]))
    kernel.SetConsoleCtrlHandler(None, True)
    sent = attached and kernel.GenerateConsoleCtrlEvent(0, 0)  # CTRL_C_EVENT
    time.sleep(0.2)
    sys.exit(0 if sent else 1)
