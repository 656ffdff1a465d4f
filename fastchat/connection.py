"""Between an edge and a session: what arrives, what has to wait, how it ends. No sockets of its own.

A connection is the ``Handler`` of its stream and the ``Peer`` of its session. It reads a command only when
the answer has somewhere to go: while replies pile up, or while a person's lines come faster than they may,
the stream is paused.
"""

from collections.abc import Collection

from fastchat._fanout import Writer
from fastchat._ring import Profile
from fastchat.chat import Chat
from fastchat.dialects import Dialect, TextDialect
from fastchat.messages import Code, Reply, WireError, bye, dumps
from fastchat.protocols.stream import Stream
from fastchat.session import Session, State
from fastchat.store import Stored

NEWCOMERS_COMMANDS = 3
"""What one line of a person who has not been welcomed comes to at most: hello, join and what it says."""

BANNER = dumps(
    {
        "type": "banner",
        "text": "This is fastchat. Type a line and press Enter to chat, /help for help. Programs send JSON.",
    }
)


class Connection:
    """One client. MUST be given to exactly one stream."""

    __slots__ = (
        "_chat",
        "_dialect",
        "_ending",
        "_finished",
        "_stream",
        "_throttled",
        "session",
        "writer",
    )

    writer: Writer
    session: Session
    _dialect: Dialect
    _stream: Stream
    _undecided = False  # whether the first message has to tell what is spoken

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._ending = False
        self._throttled = False
        self._finished = False

    # Handler: called by the stream

    def on_open(self, stream: Stream) -> None:
        """Takes the stream; commands come next."""
        self._stream = stream
        self._chat.census.add(self, stream.peer_address, self._chat.clock())

    def on_token(self, token: str) -> None:
        """Keeps a token for the hello that is to follow."""
        self._chat.offered_tokens[self] = token

    def _speak(self, dialect: Dialect, profile: Profile) -> None:
        """Decides what is spoken here, which opens the session."""
        self._dialect = dialect
        self.writer = Writer(self._chat.hub.fanout, profile, self._stream.transport, self)
        self.session = Session(self._chat.hub, self, self._chat.limits, self._chat.server)

    def _decide(self, first_message: bytes) -> None:
        """Finds out what is spoken, where that is not known from the start."""
        raise NotImplementedError

    def on_message(self, payload: bytes, text: bool) -> None:
        """Carries out what one message or line says; text and binary messages count the same."""
        if self._undecided:
            self._decide(payload)
        if self._ending:
            return
        chat, session = self._chat, self.session
        now = chat.clock()
        try:
            commands = self._dialect.parse(payload)
            if not commands:
                session.spend(now)
            for command in commands:
                session.receive(command, now, chat.wall_ms())
        except WireError as error:
            session.reject(error, now)
        self._pause_if_needed(now)

    def on_settled(self) -> None:
        """What one read brought has been carried out, or waits: what is answered by then waits with it.

        Who comes back says hello and asks for a room in one breath, and gets everything in one write.
        """
        if self.session.blocked and not self.session.rooms:
            self._chat.hold(self.writer)
        self.writer.settle()

    def on_last_words(self) -> None:
        """The client leaves, and is still told what has been answered."""
        self.writer.flush()
        self.writer.finish()

    def on_oversize(self, limit: int, start: bytes) -> None:
        """A line was too long and has been skipped."""
        if not self._ending:
            now = self._chat.clock()
            message = f"that line is longer than {limit} bytes, so it was not read"
            self.session.reject(WireError(Code.TOO_LARGE, message), now)
            self._pause_if_needed(now)

    def on_eof(self) -> None:
        """The client has said everything; it still gets what is waiting for it."""
        self._finished = True
        self.on_unblocked()

    def on_pause_writing(self) -> None:
        """The socket takes no more for now."""
        self.writer.pause()

    def on_resume_writing(self) -> None:
        """The socket has taken everything."""
        self.writer.resume()

    def on_close(self, code: int, reason: str) -> None:
        """The stream is gone; there is no ``session`` from here on."""
        self.session.close()
        self.writer.close()
        self._chat.census.discard(self, self._stream.peer_address)
        self._chat.offered_tokens.pop(self, None)
        # They know each other: as a cycle both, and the transport, would wait for the collector, which looks
        # rarely, and hardly ever at what was in use when it last looked.
        del self.session

    # Peer: called by the session

    @property
    def echo(self) -> bool:
        """Whether this client wants its own messages back as events."""
        return self._dialect.echo

    @property
    def address(self) -> str:
        """Where the client comes from."""
        return self._stream.peer_address

    def take_token(self) -> str | None:
        """The token that came with the handshake; it is forgotten with this."""
        return self._chat.offered_tokens.pop(self, None)

    def reply(self, reply: Reply) -> None:
        """Sends a reply to this client, before any later event."""
        if data := self._dialect.encode(reply):
            self.writer.write(data)

    def reply_sent(self, room: str, stored: Stored, event_id: str | None, ref: str | int | None) -> None:
        """Sends ``sent``, which most replies are."""
        if data := self._dialect.encode_sent(room, stored, event_id, ref):
            self.writer.write(data)

    # Pacing

    def _pause_if_needed(self, now: float) -> None:
        """Stops reading while the next command would have to wait."""
        if self.session.blocked or self.writer.would_block():
            self._stream.pause_reading()
        if self._dialect.patient and (wait_s := self._wait_s(now)) > 0:
            self._throttled = True
            self._stream.pause_reading()
            self._chat.call_later(wait_s, self._on_throttle_over)

    def _wait_s(self, now: float) -> float:
        """The seconds until a person's next line, whatever it says, does not come too fast."""
        return self.session.wait_s(now, 1 if self.greeted else NEWCOMERS_COMMANDS)

    def on_writable(self) -> None:
        """The writer has room again (see ``Writer``)."""
        if self.session.idle:
            self._go_on()
        else:
            # The writer is in the middle of its work: commands come later.
            self._chat.call_later(0, self.session.go_on_with_kept)

    def on_unblocked(self) -> None:
        """The session takes commands again."""
        self.writer.release()
        if not self._finished:
            self._go_on()
        elif self.session.idle and not self._ending:
            self.on_last_words()
            self._stream.close(1000, "end of input")

    def _go_on(self) -> None:
        """Reads again, unless there is still a reason not to."""
        if not (
            self._throttled
            or self._ending
            or self.writer.closed
            or self.session.blocked
            or self.writer.would_block()
        ):
            self._stream.resume_reading()

    def _on_throttle_over(self) -> None:
        if self.writer.closed:
            return
        # A loop's timers may run a little early.
        if (wait_s := self._wait_s(self._chat.clock())) > 0:
            self._chat.call_later(wait_s, self._on_throttle_over)
            return
        self._throttled = False
        self._go_on()

    # The end

    @property
    def greeted(self) -> bool:
        """Whether the client has said hello."""
        return self.session.state is not State.NEW

    @property
    def rooms(self) -> Collection[str]:
        """The names of the rooms that the client is in."""
        return self.session.rooms

    def end(self, code: int, reason: str, reconnect_after_ms: int | None = None) -> None:
        """Says ``bye`` with the cursors to come back with, and closes once everything is sent."""
        if self._ending or self.writer.closed:
            return
        self._ending = True
        self.writer.flush()
        cursors = self.session.cursors()
        self.session.close()
        self.reply(bye(code, reason, reconnect_after_ms, cursors))
        self.writer.finish()
        self._stream.close(code, reason)

    def abort(self) -> None:
        """Closes at once; what was not sent is lost."""
        self._stream.abort()


class WebSocketConnection(Connection):
    """A client at ``/ws``: JSON in messages."""

    __slots__ = ()

    def on_open(self, stream: Stream) -> None:
        """Takes the stream; JSON is all that is spoken here."""
        super().on_open(stream)
        self._speak(self._chat.profiles.json_websocket, self._chat.profiles.websocket)


class LineConnection(Connection):
    """A client of the line port: its first byte tells a program (JSON) from a person (text)."""

    __slots__ = ("_undecided",)

    def on_open(self, stream: Stream) -> None:
        """Takes the stream, and greets whoever stays silent: it may be a person who wonders what this is."""
        super().on_open(stream)
        self._undecided = True
        self._speak(self._chat.profiles.json_line, self._chat.profiles.line)
        if self._chat.banner_after_s:
            self._chat.call_later(self._chat.banner_after_s, self._greet)

    def _greet(self) -> None:
        if self._undecided and not self._ending:
            self.writer.write(self._chat.profiles.line.encode(BANNER))

    def _decide(self, first_line: bytes) -> None:
        self._undecided = False
        if first_line.startswith(b"{"):
            return
        person = TextDialect(self._first_room, self._say, self._quit, lambda: self.session.cursors())
        self.writer.close()
        self._speak(person, self._chat.profiles.text)

    @property
    def _first_room(self) -> str:
        """Where a person is who has not said where to go."""
        return self._chat.lobby

    def _say(self, data: bytes) -> None:
        self.writer.write(data)

    def _quit(self) -> None:
        self.end(1000, "you asked for it")

    def on_close(self, code: int, reason: str) -> None:
        """As ``Connection.on_close``; what a person speaks knows the connection, too."""
        super().on_close(code, reason)
        self._dialect = self._chat.profiles.json_line

    def on_oversize(self, limit: int, start: bytes) -> None:
        """As ``Connection.on_oversize``; the line's first byte tells what is spoken all the same."""
        if self._undecided:
            self._decide(start)
        super().on_oversize(limit, start)


class ControlConnection(LineConnection):
    """The operator's: whoever could open the control socket need not say who it is."""

    __slots__ = ()

    def _speak(self, dialect: Dialect, profile: Profile) -> None:
        super()._speak(dialect, profile)
        self.session.serve_operator()

    @property
    def _first_room(self) -> str:
        """Nowhere: who looks after the server is not there to chat."""
        return ""

    def _greet(self) -> None:
        """Whoever finds this socket knows what it is."""
