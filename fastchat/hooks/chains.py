"""The hooks of one kind, asked one after the other: who decides, and what is said when one fails."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastchat import log
from fastchat._hooks import Quick, Suspended
from fastchat.auth.names import normalize_name
from fastchat.hooks.interface import Counters, Message, Question, Refuse, Rules, clean_reason
from fastchat.hooks.loading import Installed
from fastchat.hooks.tasks import Carrier, Stepper
from fastchat.hooks.threads import Overdue, Pool
from fastchat.messages import Code, WireError
from fastchat.people import User

LOGGED_EVERY_S = 10.0
"""A hook's failures are logged at most this often; the others are counted."""

RETRY_AFTER_MS = 1000
"""What a client is told to wait where a hook has failed."""

Check = Callable[[str, dict[str, Any] | None], None]
"""Raises WireError where a message may not have this text and these data."""

logger = log.get_logger(__name__)


class Skipped(Exception):
    """The hook was not called."""


class Hook:
    """One function that is installed, how it is called, and what became of its calls."""

    __slots__ = (
        "_logged_at",
        "_unlogged",
        "asynchronous",
        "counters",
        "function",
        "kind",
        "name",
        "pool",
        "rules",
    )

    def __init__(self, installed: Installed, rules: Rules) -> None:
        self.name = installed.name
        self.kind = installed.kind
        self.function = installed.function
        self.asynchronous = installed.asynchronous
        self.rules = rules
        self.counters = Counters()
        self.pool: Pool | None = None
        self._logged_at = float("-inf")
        self._unlogged = 0

    def fail(self, error: BaseException, now: float) -> None:
        """Counts and logs a failure that nobody is told of."""
        self.counters.failed += 1
        self.report(error, now)

    def report(self, error: BaseException, now: float) -> None:
        """Logs what went wrong, but not every time."""
        if now - self._logged_at < LOGGED_EVERY_S:
            self._unlogged += 1
            return
        logger.warning(
            "a hook has failed",
            hook=self.name,
            error=describe(error, self.function),
            more_since_last=self._unlogged,
        )
        self._logged_at = now
        self._unlogged = 0


def describe(error: BaseException, function: Callable[..., Any]) -> str:
    """What was raised, and where in the function's own file."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    code = getattr(inspect.unwrap(function), "__code__", None)
    place, frame = "", error.__traceback__
    while frame is not None:
        if code is not None and frame.tb_frame.f_code.co_filename == code.co_filename:
            place = f" ({code.co_filename}:{frame.tb_lineno})"
        frame = frame.tb_next
    return text + place


class Chain:
    """The hooks of one kind in their order. The first one that refuses decides."""

    def __init__(self, hooks: Sequence[Hook], stepper: Stepper, clock: Callable[[], float]) -> None:
        self.hooks = hooks
        self._stepper = stepper
        self._clock = clock
        quick = list(itertools.takewhile(lambda hook: hook.asynchronous, hooks))
        self.quick = Quick(
            [hook.function for hook in quick],
            [hook.counters for hook in quick],
            stepper,
            stepper.loop,
            len(quick) == len(hooks),
            self._go_on_from,
        )

    own_answer = False
    """Whether the first argument is the answer when all agree."""

    first_counts = False
    """Whether the first hook that returns something decides."""

    refusal = Code.REFUSED
    """What a client is told where a hook refuses."""

    failure = Code.REFUSED
    """What a client is told where a hook has failed."""

    # A duty of the subclass

    def take(self, hook: Hook, args: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        """What the next hook is called with, after one has returned ``value``, which is not None.

        Raises Refuse or WireError where it refuses; TypeError or ValueError where it makes no sense.
        """
        raise NotImplementedError

    def conclude(self, args: tuple[Any, ...]) -> Any:
        """The answer when all have agreed."""
        raise NotImplementedError

    # Asking

    def ask(self, *args: Any) -> Any:
        """The answer, a WireError, or a Question."""
        return self._go_on(args, 0, None)

    def _go_on_from(self, subject: Any, index: int, value: Any, error: BaseException | None) -> Any:
        """Asks the hooks from ``index`` on; the first was asked already where it has returned or raised."""
        asked = value is not None or error is not None
        return self._go_on((subject,), index, None, (value, error) if asked else None)

    def _go_on(
        self,
        args: tuple[Any, ...],
        index: int,
        question: Question | None,
        began: tuple[Any, BaseException | None] | None = None,
    ) -> Any:
        """Asks the hooks from ``index`` on. Where one needs time the Question is returned, or a new one.

        ``began`` is what the first of them has returned or raised, if it was called already.
        """
        hooks = self.hooks
        while index < len(hooks):
            hook = hooks[index]
            if began is None:
                hook.counters.calls += 1
            try:
                if began is not None:
                    (value, error), began = began, None
                    if error is not None:
                        raise error
                    if type(value) is Suspended:
                        value = self._stepper.hand_over(value)
                        question = self._prepare(question, args, index)
                        self._wait_for(hook, value, question)
                        return question
                elif not hook.asynchronous:
                    question = self._prepare(question, args, index)
                    assert hook.pool is not None
                    question.function = hook.function
                    if hook.pool.submit(question):
                        return question
                    self._skip(hook)
                    value = None
                else:
                    value = self._stepper.step(hook.function(*args))
                    if type(value) is Carrier:
                        question = self._prepare(question, args, index)
                        self._wait_for(hook, value, question)
                        return question
                if value is not None:
                    args = self.take(hook, args, value)
                    if self.first_counts:
                        break
            except Exception as error:
                if (refusal := self._refusal(hook, error)) is not None:
                    return refusal
            index += 1
        return self.conclude(args)

    def _prepare(self, question: Question | None, args: tuple[Any, ...], index: int) -> Question:
        if question is None:
            question = Question(self)
        question.args = args
        question.index = index
        question.last = self.own_answer and index + 1 == len(self.hooks)
        return question

    def _skip(self, hook: Hook) -> None:
        most = hook.pool.most if hook.pool is not None else 0
        raise Skipped(f"{most} earlier calls have not come back")

    def _wait_for(self, hook: Hook, carrier: Carrier, question: Question) -> None:
        """Has the question go on when the coroutine ends, or when its time is over."""

        def on_done(value: Any, error: BaseException | None) -> None:
            if not carrier.given_up:
                timer.cancel()
                question.result, question.error = value, error
                self.on_done(question)

        def on_timer() -> None:
            carrier.cancel()
            self.on_overdue(question)

        carrier.on_done = on_done
        timer = self._stepper.loop.call_later(hook.rules.timeout_s, on_timer)

    # Answers that come later

    def on_done(self, question: Question) -> None:
        """A hook has answered, or raised."""
        hook = self.hooks[question.index]
        args, error = question.args, question.error
        if error is None and question.result is not None:
            try:
                args = self.take(hook, args, question.result)
            except Exception as raised:
                error = raised
            else:
                if self.first_counts:
                    question.reply(self.conclude(args))
                    return
            question.result = None
        if error is not None:
            question.error = None
            if (refusal := self._refusal(hook, error)) is not None:
                question.reply(refusal)
                return
        answer = self._go_on(args, question.index + 1, question)
        if answer is not question:
            question.reply(answer)

    def on_overdue(self, question: Question) -> None:
        """A hook has not answered in time."""
        hook = self.hooks[question.index]
        # A thread may still write to the question: what is left goes on with another one.
        heir = Question(self)
        heir.args, heir.index, heir.entry = question.args, question.index, question.entry
        heir.on_answer = question.on_answer
        heir.error = Overdue(f"no answer within {hook.rules.timeout_s:g} s")
        self.on_done(heir)

    def _refusal(self, hook: Hook, error: BaseException) -> WireError | None:
        """What a client is told; None where the hook's failure does not matter."""
        counters = hook.counters
        if isinstance(error, Refuse):
            counters.refused += 1
            reason = clean_reason(error.reason) or "this was refused"
            return WireError(self.refusal, reason)
        if isinstance(error, WireError):
            counters.refused += 1
            return error
        if isinstance(error, Overdue):
            counters.overdue += 1
        elif isinstance(error, Skipped):
            counters.skipped += 1
        else:
            counters.failed += 1
        hook.report(error, self._clock())
        if not hook.rules.refuses:
            return None
        return WireError(
            self.failure, "this could not be checked; send it again later", retry_after_ms=RETRY_AFTER_MS
        )


class MessageChain(Chain):
    """``on_message(message)``: None lets it pass, a text or a dict of ``text`` and ``data`` changes it."""

    own_answer = True

    def __init__(
        self, hooks: Sequence[Hook], stepper: Stepper, clock: Callable[[], float], check: Check
    ) -> None:
        super().__init__(hooks, stepper, clock)
        self._check = check

    def take(self, hook: Hook, args: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        """The message as the hook has changed it."""
        (message,) = args
        text, data = message.text, message.data
        if type(value) is str:
            text = value
        elif isinstance(value, Mapping) and value and value.keys() <= {"text", "data"}:
            text, data = value.get("text", text), value.get("data", data)
        else:
            _refuse_result(hook, value, 'None, a text, or {"text": …, "data": …}')
        if type(text) is not str or not text or (data is not None and type(data) is not dict):
            raise ValueError("a message needs a text that is not empty, and its data are a dict or None")
        text.encode()  # raises where it is half of a surrogate pair
        try:
            self._check(text, data)
        except WireError as error:
            raise ValueError(f"the changed message cannot be sent: {error.message}") from None
        hook.counters.edited += 1
        changed = Message(message.user, message.room, text, data, message.id, message.at_ms, message.edits)
        return (changed,)

    def conclude(self, args: tuple[Any, ...]) -> Any:
        """The message."""
        return args[0]


class ActionChain(Chain):
    """``authorize(user, action, room)``: None and True let it pass, False forbids it."""

    def take(self, hook: Hook, args: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        """The same, unless it is forbidden."""
        if value is True:
            return args
        if value is not False:
            _refuse_result(hook, value, "None, True or False")
        raise WireError(Code.FORBIDDEN, f"you may not {args[1]} in {args[2]}")

    def conclude(self, args: tuple[Any, ...]) -> Any:
        """Nothing is against it."""
        return None


class CredentialsChain(Chain):
    """``authenticate(credentials)``: a User or a name says who it is, None leaves it to the next one."""

    first_counts = True
    refusal = Code.UNAUTHORIZED
    failure = Code.UNAVAILABLE

    def take(self, hook: Hook, args: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        """Who it is."""
        if type(value) is str:
            value = User(value, guest=False)
        if type(value) is not User:
            _refuse_result(hook, value, "None, a name, or a User")
        try:
            name = normalize_name(value.name)
        except WireError as error:
            raise ValueError(error.message) from None
        return (value if name == value.name else replace(value, name=name),)

    def conclude(self, args: tuple[Any, ...]) -> Any:
        """The User, or None where no hook knows."""
        return args[0] if type(args[0]) is User else None


class EventChain(Chain):
    """A hook that is told what has happened. Nobody waits for it, and nothing that it returns matters."""

    def take(self, hook: Hook, args: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        """The same."""
        if inspect.iscoroutine(value):
            _refuse_result(hook, value, "nothing")
        return args

    def conclude(self, args: tuple[Any, ...]) -> Any:
        """Nothing."""
        return None


def _refuse_result(hook: Hook, value: Any, expected: str) -> None:
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError(f"{hook.name} is no async def, but returned a coroutine")
    raise TypeError(f"{hook.name} returned {type(value).__name__}; return {expected}")
