"""`submit --to-kaggle`: the official client against a stand-in for the service."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from pipeline.config.strict import locate_toml
from pipeline.errors import ConfigError, SubmissionError
from pipeline.stages import log_score, submit
from pipeline.submission import kaggle as kaggle_service
from pipeline.submission import kaggle_client
from pipeline.submission.kaggle import Kaggle, Verdict
from pipeline.submission.kaggle_client import LostAnswerError
from pipeline.submission.submission_log import load_log, open_log
from tests.kaggle_stand_in import StandIn, serve
from tests.stages.test_submit import EXPECTED, default_probs, demo, paths, save

__all__ = ["demo", "paths"]  # fixtures


@pytest.fixture
def kaggle() -> Iterator[StandIn]:
    with serve() as stand_in:
        yield stand_in


@pytest.fixture
def known(demo):
    """The demo as if it were a competition of Kaggle's."""
    return demo.model_copy(update={"kaggle": "drawn-cats"})


@pytest.fixture
def client(kaggle, tmp_path, monkeypatch):
    """Let Kaggle's client, in this process, find the stand-in."""
    for name, value in kaggle.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    from kaggle.api.kaggle_api_extended import KaggleApi  # looks for its folder when imported

    monkeypatch.setattr(KaggleApi, "args", ["--local"])  # it read the environment when imported
    monkeypatch.setattr(KaggleApi, "config_values", {})
    monkeypatch.setattr(kaggle_service, "PAUSE_SECONDS", 0)


@pytest.fixture
def send(paths, known, client):  # noqa: ARG001 (set up)
    """Run `submit --to-kaggle`."""
    return partial(submit.run, paths, known, "probe", to_kaggle=True)


def test_file_is_sent_once_and_its_score_noted(send, kaggle, paths, demo, capsys):
    send(message="my first")
    assert capsys.readouterr().out.endswith("\nKaggle's public score: 0.93\n")
    assert kaggle.uploads == [EXPECTED]
    mark = f"[{hashlib.sha256(EXPECTED).hexdigest()[:12]}]"
    assert kaggle.descriptions == [("drawn-cats", f"my first {mark}")]
    (entry,) = load_log(paths.submission_log)
    assert entry.sent is not None
    assert (entry.public_score, entry.private_score) == (0.93, None)
    send()
    out, err = capsys.readouterr()
    assert "not sent, as Kaggle has this file as submission 7" in err
    assert out.endswith("\nKaggle's public score: 0.93\n")
    assert len(kaggle.uploads) == 1
    save(paths, demo, probs=default_probs()[::-1])
    send()
    ((_, description),) = kaggle.descriptions[1:]
    assert description.startswith("probe [")


def test_a_score_is_of_the_content_that_was_sent_whatever_was_written_meanwhile(
    send, paths, monkeypatch
):
    ask = Kaggle.verdict

    def overtaken(self, *words):
        paths.submission("probe").unlink()
        return ask(self, *words)

    monkeypatch.setattr(Kaggle, "verdict", overtaken)
    send()
    (entry,) = load_log(paths.submission_log)
    assert (entry.sha256, entry.public_score) == (hashlib.sha256(EXPECTED).hexdigest(), 0.93)


def test_file_that_kaggle_has_is_not_sent_again_though_the_log_knows_nothing(
    send, kaggle, paths, capsys
):
    send()
    for _ in ("the next try", "another machine"):
        paths.submission_log.unlink()
        send()
        assert "not sent, as Kaggle has this file as submission 7" in capsys.readouterr().err
        assert load_log(paths.submission_log)[0].public_score == 0.93
    assert len(kaggle.uploads) == len(kaggle.descriptions) == 1


LOST: dict[str, dict[str, Any]] = {
    "an outage": {"lost": {"CreateSubmission"}},
    "a login page": {"odd": {"CreateSubmission": b"<html>Log in</html>"}},
}


@pytest.mark.parametrize("how", LOST)
def test_file_whose_answer_was_lost_is_looked_for_and_sent_once(send, kaggle, paths, capsys, how):
    vars(kaggle).update(LOST[how])
    if "odd" in LOST[how]:  # Kaggle took it all the same
        sha256 = hashlib.sha256(EXPECTED).hexdigest()
        kaggle.others = [{"ref": 7, "description": f"x [{sha256[:12]}]", "status": "COMPLETE"}]
        find, numbers = Kaggle.find, [None]
        with pytest.MonkeyPatch.context() as patch:  # it is listed only after it was sent
            patch.setattr(Kaggle, "find", lambda *a: numbers.pop() if numbers else find(*a))
            send()
    else:
        send()
        assert load_log(paths.submission_log)[0].public_score == 0.93
    assert "sent to Kaggle as submission 7" in capsys.readouterr().err
    assert load_log(paths.submission_log)[0].sent is not None
    send()
    assert len(kaggle.uploads) == 1


def test_file_whose_answer_was_lost_and_that_is_not_listed_was_not_taken(send, kaggle, paths):
    kaggle.odd = {"CreateSubmission": b"<html>"}
    with pytest.raises(
        SubmissionError, match=r"wasn't taken by Kaggle, as its list doesn't name i"
    ):
        send()
    assert load_log(paths.submission_log)[0].sent is None
    kaggle.odd = {}
    send()
    assert load_log(paths.submission_log)[0].sent is not None


def test_whether_it_was_taken_is_not_known_where_kaggle_is_down_afterwards(
    send, kaggle, monkeypatch
):
    kaggle.lost = {"CreateSubmission"}
    find, numbers = Kaggle.find, [None]

    def then_down(*args):
        if numbers:
            return numbers.pop()
        kaggle.refusals = {"ListSubmissions": (503, "Down")}
        return find(*args)

    monkeypatch.setattr(Kaggle, "find", then_down)
    with pytest.raises(
        SubmissionError, match=r"probe\.csv: it isn't known whether Kaggle took it, a"
    ):
        send()
    monkeypatch.undo()


def test_file_that_kaggle_no_longer_lists_is_not_sent_twice(send, kaggle):
    send()
    kaggle.descriptions.clear()
    with pytest.raises(
        SubmissionError, match=r"must not be sent twice, was sent as probe\.csv at 20"
    ):
        send()
    assert len(kaggle.uploads) == 1


def test_file_is_found_among_hundreds(send, kaggle, paths):
    kaggle.others = [
        {"ref": 1000 + n, "status": "COMPLETE", "publicScore": "1"} for n in range(250)
    ]
    send()
    paths.submission_log.unlink()
    send()
    assert load_log(paths.submission_log)[0].public_score == 0.93
    assert len(kaggle.uploads) == 1


def test_nothing_is_sent_where_kaggle_does_not_say_what_it_has(send, kaggle):
    kaggle.refusals = {"ListSubmissions": (500, "Out of order")}
    with pytest.raises(SubmissionError, match="was sent before, so nothing was sent: Out of order"):
        send()
    assert kaggle.uploads == []


def test_reason_of_the_judge_is_told_and_the_file_counts_as_sent(send, kaggle, paths):
    kaggle.verdicts = [{"status": "ERROR", "errorDescription": "300000 rows expected"}]
    expected = r"probe\.csv: must be accepted by Kaggle, is refused: 300000 rows expec"
    for _ in range(2):
        with pytest.raises(SubmissionError, match=expected):
            send()
    assert load_log(paths.submission_log)[0].sent is not None
    assert len(kaggle.uploads) == 1


def test_verdict_is_waited_for_and_may_come_later(send, kaggle, capsys, monkeypatch):
    monkeypatch.setattr(submit, "VERDICT_SECONDS", 0)
    kaggle.verdicts = [{"status": "PENDING"}]
    send()
    assert "has no score yet; the same command again asks for it" in capsys.readouterr().out
    kaggle.verdicts = [{"status": "PENDING"}, {"status": "COMPLETE", "publicScore": "0.5"}]
    verdict = Kaggle("drawn-cats").verdict(7, patience_seconds=60, pause_seconds=0)
    assert verdict == Verdict(is_final=True, public_score=0.5)


@pytest.mark.parametrize(
    ("method", "refusal", "reason"),
    [
        ("CreateSubmission", (400, "Submission limit reached"), "Submission limit reached; see"),
        ("StartSubmissionUpload", (403, "Accept the rules"), "Accept the rules; see https://www"),
        ("StartSubmissionUpload", (404, "Not found"), r"Not found; .*\.com/c/drawn-cats/submiss"),
        ("upload", (410, ""), "which broke off its upload; run the same command again"),
    ],
)
def test_file_that_is_not_taken_may_be_sent_again(send, kaggle, paths, method, refusal, reason):
    kaggle.refusals = {method: refusal}
    with pytest.raises(SubmissionError, match=rf"probe\.csv: wasn't taken by Kaggle.*{reason}"):
        send()
    assert load_log(paths.submission_log)[0].sent is None
    kaggle.refusals = {}
    send()
    assert load_log(paths.submission_log)[0].sent is not None


def test_late_scores_are_fetched_by_the_same_command_or_by_log_score(
    send, kaggle, paths, known, capsys, monkeypatch
):
    monkeypatch.setattr(submit, "VERDICT_SECONDS", 0)
    kaggle.verdicts = [{"status": "PENDING"}]
    send()
    kaggle.verdicts = [{"status": "COMPLETE", "publicScore": "0.5"}]
    send()
    assert load_log(paths.submission_log)[0].public_score == 0.5
    kaggle.verdicts = [{"status": "COMPLETE", "publicScore": "0.5", "privateScore": "0.25"}]
    log_score.run(paths.root, paths.submission("probe"), None, None, known)
    assert capsys.readouterr().out.endswith("public score: 0.5\nKaggle's private score: 0.25\n")
    (entry,) = load_log(paths.submission_log)
    assert (entry.public_score, entry.private_score) == (0.5, 0.25)
    kaggle.descriptions.clear()
    with pytest.raises(
        SubmissionError, match="must have been sent with 'submit --to-kaggle', Kagg"
    ):
        log_score.run(paths.root, paths.submission("probe"), None, None, known)
    with pytest.raises(ConfigError, match="leave --public and --private out"):
        log_score.run(paths.root, paths.submission("probe"), 0.5, None, known)


@pytest.mark.parametrize(
    ("text", "part"), [("NaN", "public"), ("N/A", "private"), ("inf", "public")]
)
def test_score_that_is_no_number_is_told_and_not_noted(send, kaggle, paths, capsys, text, part):
    kaggle.verdicts = [{"status": "COMPLETE", "privateScore": "0.25"} | {f"{part}Score": text}]
    send()
    captured = capsys.readouterr()
    assert f"Kaggle's {part} score '{text}' is no number and wasn't noted" in captured.err
    (entry,) = load_log(paths.submission_log)
    assert (entry.public_score, entry.private_score) == (None, 0.25 if part == "public" else None)


ODD_LISTS = {
    "a login page": (
        b"<html>Log in to this network</html>",
        "text and no data, as of a network's",
    ),
    "an unknown state": (
        b'{"submissions": [{"ref": 6, "status": "ARCHIVED"}]}',
        "KeyError: 'ARCHIV",
    ),
    "another kind of data": (b'{"submissions": [7]}', "doesn't understand the answer"),
}


@pytest.mark.parametrize("name", ODD_LISTS)
def test_answer_that_is_none_is_one_line(send, kaggle, paths, name):
    content, expected = ODD_LISTS[name]
    kaggle.odd = {"ListSubmissions": content}
    with pytest.raises(SubmissionError, match="so nothing was sent: .*" + expected) as caught:
        send()
    assert "\n" not in str(caught.value)
    assert kaggle.uploads == []
    assert load_log(paths.submission_log)[0].sent is None


@pytest.mark.parametrize("method", ["ListSubmissions", "StartSubmissionUpload", "CreateSubmission"])
def test_call_that_hangs_is_given_up_and_the_log_is_free(send, kaggle, paths, monkeypatch, method):
    monkeypatch.setattr(kaggle_service, "CALL_SECONDS", 0.5)
    monkeypatch.setattr(kaggle_client.KaggleClient.ask, "__defaults__", (0.5, None))
    monkeypatch.setattr(kaggle_service, "SLOW_BYTES_PER_SECOND", 1e9)
    kaggle.hanging = {method}
    began = time.monotonic()
    with pytest.raises(
        SubmissionError, match=r"nothing came within 0 s|wasn't taken by Kaggle, as"
    ):
        send()
    assert time.monotonic() - began < 20
    with open_log(paths, "test") as log:
        assert log.entries[0].sent is None
    kaggle.hanging = set()
    send()
    assert len(kaggle.descriptions) == 1


def test_poll_that_fails_is_tried_again_and_the_log_is_free_meanwhile(
    send, paths, monkeypatch, capsys
):
    calls = []
    ask = Kaggle._listed

    def flaky(self, what):
        calls.append(what)
        if len(calls) == 2:
            with open_log(paths, "test") as log:
                assert log.entries[0].sent is not None
            raise LostAnswerError("down")
        return ask(self, what)

    monkeypatch.setattr(Kaggle, "_listed", flaky)
    monkeypatch.setattr(Kaggle.verdict, "__defaults__", (0,))
    send()
    assert len(calls) == 3
    assert capsys.readouterr().out.endswith("Kaggle's public score: 0.93\n")


@pytest.mark.parametrize("status", [500, 503])
def test_outage_is_not_called_bad_credentials(send, kaggle, monkeypatch, status):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_x")
    kaggle.refusals = {"IntrospectToken": (status, "Out of order")}
    with pytest.raises(
        SubmissionError, match="doesn't say whether the credentials are good: Out of"
    ):
        send()
    kaggle.refusals = {"IntrospectToken": (401, "Bad token")}
    with pytest.raises(ConfigError, match="must find credentials"):
        send()


def test_invalid_file_is_never_sent(send, kaggle, monkeypatch):
    monkeypatch.setattr(submit, "encode", lambda *_: EXPECTED[:-5])
    with pytest.raises(SubmissionError, match="must be valid to be written, would have"):
        send()
    assert kaggle.uploads == kaggle.descriptions == []


def test_without_credentials_nothing_is_written(send, paths, monkeypatch, capsys):
    monkeypatch.delenv("KAGGLE_KEY")
    with pytest.raises(ConfigError, match="must find credentials in KAGGLE_API_TOKEN, or"):
        send()
    assert capsys.readouterr().out == ""
    assert not paths.submission("probe").exists()


def test_competition_that_is_not_kaggles_is_refused_before_anything(paths, demo):
    with pytest.raises(ConfigError, match=r"demo\.toml: must have a key 'kaggle' for --to-kaggle"):
        submit.run(paths, demo, "probe", to_kaggle=True)
    assert not paths.submission("probe").exists()


def test_message_without_sending_is_a_mistake(paths, demo):
    with pytest.raises(ConfigError, match="add --to-kaggle"):
        submit.run(paths, demo, "probe", message="my first")


def test_the_command_sends(kaggle, paths, tmp_path):
    toml = tmp_path / "demo.toml"
    toml.write_text('kaggle = "drawn-cats"\n' + locate_toml("demo", "competitions").read_text())
    command = ["submit", toml, "--experiment", "probe", "--to-kaggle", "-m", "x"]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *command, "--root", paths.root],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | kaggle.environment(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    ((slug, description),) = kaggle.descriptions
    assert (slug, description.partition(" ")[0]) == ("drawn-cats", "x")
