"""`submit --to-kaggle`: the official client against a stand-in for the service."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest

from pipeline.config.strict import locate_toml
from pipeline.errors import ConfigError, SubmissionError
from pipeline.stages import submit
from pipeline.submission.kaggle import Kaggle, Verdict
from pipeline.submission.submission_log import load_log
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
def send(paths, known, kaggle, tmp_path, monkeypatch):
    """Run `submit --to-kaggle`."""
    for name, value in kaggle.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    from kaggle.api.kaggle_api_extended import KaggleApi  # looks for its folder when imported

    monkeypatch.setattr(KaggleApi, "args", ["--local"])  # it read the environment when imported
    monkeypatch.setattr(KaggleApi, "config_values", {})
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
    with pytest.raises(SubmissionError, match=r"sent before, was sent as probe\.csv at \d{4}-"):
        send()
    save(paths, demo, probs=default_probs()[::-1])
    send()
    ((_, description),) = kaggle.descriptions[1:]
    assert description.startswith("probe [")


def test_file_that_kaggle_has_is_not_sent_again_though_the_log_knows_nothing(
    send, kaggle, paths, capsys
):
    kaggle.lost = {"CreateSubmission"}
    with pytest.raises(SubmissionError, match=r"probe\.csv: wasn't taken by Kaggle: 504"):
        send()
    assert load_log(paths.submission_log)[0].sent is None
    for _ in ("the next try", "another machine"):
        send()
        assert "not sent, as Kaggle has this file as submission 7" in capsys.readouterr().err
        assert load_log(paths.submission_log)[0].public_score == 0.93
        paths.submission_log.unlink()
    assert len(kaggle.uploads) == len(kaggle.descriptions) == 1


def test_nothing_is_sent_where_kaggle_does_not_say_what_it_has(send, kaggle):
    kaggle.refusals = {"ListSubmissions": (500, "Out of order")}
    with pytest.raises(SubmissionError, match="was sent before, so nothing was sent: Out of order"):
        send()
    assert kaggle.uploads == []


def test_reason_of_the_judge_is_told_and_the_file_counts_as_sent(send, kaggle, paths):
    kaggle.verdicts = [{"status": "ERROR", "errorDescription": "300000 rows expected"}]
    with pytest.raises(
        SubmissionError,
        match=r"probe\.csv: must be accepted by Kaggle, is refused: 300000 rows expec",
    ):
        send()
    assert load_log(paths.submission_log)[0].sent is not None
    with pytest.raises(SubmissionError, match="must not have been sent before"):
        send()
    assert len(kaggle.uploads) == 1


def test_verdict_is_waited_for_and_may_come_later(send, kaggle, capsys, monkeypatch):
    monkeypatch.setattr(submit, "VERDICT_SECONDS", 0)
    kaggle.verdicts = [{"status": "PENDING"}]
    send()
    assert "has no score yet; log it later with 'pipeline log-score'" in capsys.readouterr().out
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
