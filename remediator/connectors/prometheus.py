"""Reading Prometheus (and what speaks its API): one probe, an instant query.

The client library is synchronous and heavy, so it is imported at the first query and called in a
few worker threads of our own. By default it retries three times, follows redirects and waits
forever; the session given to it does none of that.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import Field

from remediator.config import Duration
from remediator.connectors.settings import Authorities, BaseUrl, Headers, Settings
from remediator.connectors.unoffered import Unoffered
from remediator.core.calls import printable
from remediator.core.catalog import Escape, Kind, Operation, Param
from remediator.core.cutting import words
from remediator.core.intention import Call
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind

if TYPE_CHECKING:
    import requests

QUERY = Operation(
    name="prometheus.query",
    kind=Kind.PROBE,
    doc="The value of a PromQL expression now. `value` is null unless exactly one series answers.",
    params={
        "query": Param(
            "PromQL with an instant result. Values that `${…}` inserts are escaped as string literals.",
            escape=Escape.PROMQL,
            required=True,
        )
    },
    longest=timedelta(seconds=30),
    reads=("value", "series"),
)

MOST_BYTES = 16 * 1024 * 1024
MOST_SERIES = 10_000
AT_ONCE = 4


class PrometheusSettings(Settings):
    """A Prometheus, or Thanos, Mimir or VictoriaMetrics."""

    url: BaseUrl = Field(description="its address, such as http://127.0.0.1:9090")
    headers: Headers = Field(default={}, description="added to each request, such as Authorization")
    timeout: Duration = Field(default=timedelta(seconds=10), gt=timedelta(0), le=QUERY.longest)
    ca: Authorities = None


class Prometheus(Unoffered):
    """A configured Prometheus."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="prometheus")
        self._local = threading.local()  # one session per thread: requests shares none safely

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """`value` and `series`, of an instant query."""
        query = call.args.get("query")
        if not isinstance(query, str) or not query.strip():
            raise ConnectorError(call.connection, "the query is empty")
        within = min(timeout, self._settings.timeout.total_seconds())
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within):
                answer = await loop.run_in_executor(self._pool, self._ask, query, time.monotonic() + within)
        except TimeoutError:
            raise ConnectorError(
                call.connection, f"no answer within {within:g} s", remedy="is Prometheus overloaded?"
            ) from None
        except ConnectorError as error:
            raise ConnectorError(call.connection, error.problem, remedy=error.remedy) from error
        return _shape(call.connection, answer)

    async def close(self) -> None:
        """Let the worker threads end; each has its deadline."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, query: str, deadline: float) -> Any:
        """In a worker thread. ``deadline`` is on the monotonic clock."""
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = connected(self._settings)
        return asked(client, "custom_query", query, deadline=deadline)


def connected(settings: PrometheusSettings) -> Any:
    """A client of the library, for one thread. Opens no socket."""
    from prometheus_api_client import PrometheusConnect
    from urllib3 import Retry

    return PrometheusConnect(
        url=settings.url,
        headers={k: v.get_secret_value() for k, v in settings.headers.items()},
        retry=Retry(0),
        session=_session(settings),
    )


def asked(client: Any, method: str, *arguments: Any, deadline: float) -> Any:
    """What a client of `connected` answers. ``deadline`` is on the monotonic clock.

    Raises TimeoutError, and ConnectorError for everything else that is no answer.
    """
    import requests
    from prometheus_api_client.exceptions import PrometheusApiClientException

    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise ConnectorError("", "no worker was free in time", remedy="are its queries too slow?")
    try:
        client._session.deadline = deadline  # noqa: SLF001 - our own session, below
        return getattr(client, method)(*arguments, timeout=remaining)
    except requests.exceptions.Timeout:
        raise TimeoutError from None
    except requests.exceptions.ConnectionError as error:
        raise ConnectorError("", f"cannot be reached: {_root(error)}", remedy="is its url right?") from error
    except PrometheusApiClientException as error:
        told = _refusal(client._session.answered)  # noqa: SLF001 - our own session
        raise ConnectorError("", f"refused the query: {told}") from error
    except (requests.exceptions.RequestException, ValueError, KeyError, TypeError) as error:
        problem = "answered something that is no query result"
        if _is_page(client._session.answered):  # noqa: SLF001 - our own session
            remedy = "is its url right, and does it ask for a log-in?"
            raise ConnectorError("", f"{problem}, but a page for people", remedy=remedy) from error
        raise ConnectorError("", f"{problem}: {_root(error)}", remedy="is its url right?") from error


def _refusal(answered: requests.Response) -> str:
    """What Prometheus says against a query, or what somebody in front of it says."""
    if _is_page(answered):
        return f"{answered.status_code}, with a page for people"
    try:
        told = str(answered.json()["error"])
    except (ValueError, KeyError, TypeError):
        told = answered.text
    return f"{answered.status_code}, {printable(told, 500)}"


def _is_page(answered: requests.Response | None) -> bool:
    return answered is not None and answered.content.lstrip()[:1] == b"<"


def _session(settings: PrometheusSettings) -> requests.Session:
    import requests

    class Bounded(requests.Session):
        """One request, no redirect, a bounded answer, within a deadline."""

        deadline = math.inf
        answered: requests.Response | None = None  # the last one, whole

        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            self.answered = None
            options.update(stream=True, allow_redirects=False)
            response = super().send(request, **options)
            body = bytearray()
            for chunk in response.iter_content(64 * 1024):
                body += chunk
                if len(body) > MOST_BYTES:
                    response.close()
                    raise requests.exceptions.ContentDecodingError(f"more than {MOST_BYTES} bytes")
                if time.monotonic() > self.deadline:
                    response.close()
                    raise requests.exceptions.ReadTimeout
            response._content = bytes(body)  # noqa: SLF001 - what `.content` would have kept
            self.answered = response
            return response

    session = Bounded()
    session.trust_env = False
    if settings.ca is not None:
        session.verify = str(settings.ca)
    return session


def _shape(connection: str, answer: Any) -> dict[str, Any]:
    """The library's answer in our names: a list of series, or [time, text] of a scalar or string."""
    match answer:
        case [int() | float(), str(text)]:
            return {"value": _only(connection, _number(connection, text)), "series": []}
        case list():
            if len(answer) > MOST_SERIES:
                raise ConnectorError(
                    connection,
                    f"{len(answer)} series, more than {MOST_SERIES}",
                    remedy="aggregate in the query",
                )
            series = [_one(connection, item) for item in answer]
            value = _only(connection, series[0]["value"]) if len(series) == 1 else None
            return {"value": value, "series": [{**one, "value": _finite(one["value"])} for one in series]}
    raise ConnectorError(connection, "answered something that is no query result")


def _one(connection: str, item: Any) -> dict[str, Any]:
    match item:
        case {"metric": dict(labels), "value": [_, str(text)]}:
            return {"labels": labels, "value": _number(connection, text)}
        case {"values": _}:
            raise ConnectorError(
                connection, "the query answers a range of values", remedy="wrap it, as in rate(…[5m])"
            )
        case {"histogram": _}:
            raise ConnectorError(
                connection, "the query answers a native histogram", remedy="use histogram_quantile(…)"
            )
    raise ConnectorError(connection, "answered something that is no query result")


def _number(connection: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConnectorError(connection, "the query answers a string, not a number") from None


def _only(connection: str, value: float) -> float:
    """The one value that decisions rest on: it may not be NaN or infinite."""
    if not math.isfinite(value):
        spelled = "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
        raise ConnectorError(
            connection, f"the query answered {spelled}", remedy="guard it, as in … and x > 0"
        )
    return value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _root(error: BaseException) -> str:
    """The innermost reason, without the layers of pools and adapters around it."""
    while error.__context__ is not None:
        error = error.__context__
    return words(error)


KIND = ConnectorKind(
    name="prometheus",
    doc="Prometheus, or anything that answers its HTTP API.",
    operations=(QUERY,),
    settings=PrometheusSettings,
    make=Prometheus,
)
