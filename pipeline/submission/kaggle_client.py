"""Call Kaggle's official client, so that every call ends: in time, and in one line if it fails.

The client is optional (the extra `kaggle`). It looks for credentials when it is imported, waits for
answers without end and prints on stdout. So it is imported inside functions, its calls run in
threads that are given up after a while, and what it prints is kept for the errors.
"""

import contextlib
import io
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from pipeline.errors import ConfigError, PipelineError, SubmissionError
from pipeline.machine import is_installed, pip_install

CALL_SECONDS = 25.0  # for an answer; Kaggle's take one or two
CREDENTIALS = "KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json"

T = TypeVar("T")


class LostAnswerError(SubmissionError):
    """Kaggle may have done what it was asked for; no answer came that says so."""


class KaggleClient:
    """The client, with credentials.

    Args:
        slug: The competition's name in its URL.
        asker: Who needs it, for the errors.

    Raises:
        ConfigError: The client isn't installed, or finds no credentials.
        SubmissionError: Kaggle doesn't answer whether they are good.
    """

    def __init__(self, slug: str, asker: str) -> None:
        if not is_installed("kaggle"):
            raise ConfigError(
                f"{asker}: needs the package kaggle (the extra 'kaggle'), which isn't "
                f"installed; run '{pip_install('kaggle six')}'"
            )
        self._see = f"see https://www.kaggle.com/c/{slug}/submissions"
        what = f"{asker}: Kaggle doesn't say whether the credentials are good"
        self.api: Any = self.ask(what, partial(_authenticated, asker))

    def ask(
        self,
        what: str,
        call: Callable[[], T],
        seconds: float = CALL_SECONDS,
        num_bytes: Callable[[], int] | None = None,
    ) -> T:
        """Make one call.

        Args:
            what: Begins the error's message.
            call: A method of `api` with its arguments.
            seconds: How long to wait.
            num_bytes: Counts what has come; as long as it grows, the call is waited for.

        Raises:
            SubmissionError: Kaggle refuses it.
            LostAnswerError: No answer came in time, or none that can be understood.
        """
        from requests.exceptions import RequestException

        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                return _in_time(call, seconds, num_bytes)
        except PipelineError:
            raise
        except TimeoutError as error:
            raise LostAnswerError(
                f"{what}: nothing came within {seconds:.0f} s; {self._see}"
            ) from error
        except json.JSONDecodeError as error:
            raise LostAnswerError(
                f"{what}: its answer is text and no data, as of a network's login page; {self._see}"
            ) from error
        except RequestException as error:
            reason = " ".join(f"{_reason(error)} {said.getvalue()}".split())
            lost = SubmissionError if _is_refusal(error) else LostAnswerError
            raise lost(f"{what}: {reason}; {self._see}") from error
        except (SystemExit, OSError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise LostAnswerError(
                f"{what}: its client doesn't understand the answer ({type(error).__name__}: "
                f"{error}); run '{pip_install('--upgrade kaggle')}', or {self._see}"
            ) from error


def _in_time(call: Callable[[], T], seconds: float, num_bytes: Callable[[], int] | None) -> T:
    """Call in a thread that is given up when nothing happens for so long; it ends with us.

    Args:
        call: What to call.
        seconds: How long to wait.
        num_bytes: What has come; as long as it grows, something happens.

    Raises:
        TimeoutError: Nothing happened for so long.
        BaseException: What the call raised.
    """
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # raised again where it was waited for
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    before = -1
    while True:
        try:
            return answer.result(seconds)
        except TimeoutError:
            now = num_bytes() if num_bytes is not None else before
            if answer.done() or now <= before:
                raise
            before = now


def _authenticated(asker: str) -> Any:
    """Import the client, which looks for credentials, and have it look for them again."""
    from requests.exceptions import RequestException

    refusal = ConfigError(
        f"{asker}: must find credentials in {CREDENTIALS}, finds none that serve; "
        "make a token on kaggle.com, Settings, API"
    )
    try:
        from kaggle.api.kaggle_api_extended import KaggleApi

        api: Any = KaggleApi()
        api.authenticate()
    except RequestException as error:
        if _is_refusal(error):
            raise refusal from error
        raise
    except (SystemExit, OSError) as error:
        raise refusal from error
    return api


def _is_refusal(error: Any) -> bool:
    """Whether Kaggle says that it won't; it may have done what it failed to answer."""
    status = getattr(error.response, "status_code", None)
    return status is not None and 400 <= status < 500 and status != 408


def _reason(error: Any) -> str:
    """Read the reason that the service gave; the client keeps it where the answer has a "code"."""
    with contextlib.suppress(AttributeError, ValueError, KeyError, TypeError):
        return str(error.response.json()["message"])
    return str(error)
