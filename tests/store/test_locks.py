from types import SimpleNamespace

from pipeline.store.locks import first_held, held, try_hold


def test_of_several_locks_the_first_that_is_free_is_held(tmp_path, capsys):
    first, second = tmp_path / "first.lock", tmp_path / "second.lock"
    with held(first, "another"), first_held({first: "one", second: "two"}) as path:
        assert path == second
        assert second.read_text().startswith("two (process ")
        assert try_hold(second) is None
    assert capsys.readouterr().err == ""
    assert (first.read_text(), second.read_text()) == ("", "")


def test_where_none_is_free_that_is_said_once_and_waited_for(tmp_path, monkeypatch, capsys):
    paths = [tmp_path / "first.lock", tmp_path / "second.lock"]
    held_by_others = [try_hold(path) for path in paths]
    free_first, free_second = (free for free in held_by_others if free)
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            free_second()

    monkeypatch.setattr("pipeline.store.locks.time", SimpleNamespace(sleep=sleep))
    with first_held({path: f"who wants {path.stem}" for path in paths}) as path:
        assert path == paths[1]
    assert len(naps) == 3
    assert capsys.readouterr().err == (
        f"who wants first: waiting for another 'pipeline' command, which holds {paths[0]}\n"
    )
    free_first()
