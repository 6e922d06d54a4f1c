from typing import ClassVar

from pipeline.machine import keep_freed_memory


def test_nothing_is_tuned_where_there_is_no_glibc(monkeypatch):
    def fail(_):
        raise AssertionError("libc must not be opened")

    monkeypatch.setattr("pipeline.machine.ctypes.CDLL", fail)
    monkeypatch.setattr("pipeline.machine.platform.libc_ver", lambda: ("", ""))
    keep_freed_memory()


def test_glibc_is_told_to_keep_what_is_freed(monkeypatch):
    class Libc:
        calls: ClassVar[list[tuple[int, int]]] = []

        def mallopt(self, option, value):
            self.calls.append((option, value))

    monkeypatch.setattr("pipeline.machine.ctypes.CDLL", lambda _: Libc())
    monkeypatch.setattr("pipeline.machine.platform.libc_ver", lambda: ("glibc", "2.31"))
    keep_freed_memory()
    assert dict(Libc.calls) == {-4: 0, -1: 2**31 - 1, -2: 2**28}
