"""What ``/help`` says. Pure: no sockets, clock or await."""

HELP = {
    "": """\
* Type a line and press Enter: everyone in the room reads it.
*   /nick NAME      be called NAME
*   /join ROOM      enter a room, or talk in another one you are in
*   /leave          leave the room
*   /who            who is here
*   /rooms          which rooms there are
*   /history [N]    the last N messages
*   /search WORDS   messages in your rooms that have these words
*   /msg NAME TEXT  say something to NAME alone
*   /quit           good-bye
* A message that begins with / is written with two: //shrug
* There is more about /help account, /help people, /help room and /help operator
""",
    "account": """\
*   /login NAME PASSWORD     come in with an account; as the first line, too
*   /register NAME PASSWORD  make an account, where this server lets you
*   /password OLD NEW        another password, which signs out your other connections
*   /signout                 end all connections of yours, this one too
* Whoever can read your line can read a password on it: use it on your own machine, or over TLS.
""",
    "people": """\
*   /msg NAME [TEXT]  say something to NAME alone; without a text, what you have said to each other
*   /whois NAME       whether NAME is here, or when that was
*   /away [TEXT]      you are away; who sends a message is back
*   /back             you are back
*   /block NAME       hear nothing of NAME
*   /unblock NAME     hear NAME again
""",
    "room": """\
* In the room that you talk in:
*   /topic TEXT                  what it is about; /topic - for nothing
*   /invite NAME                 let NAME in
*   /kick NAME [REASON]          take NAME out
*   /ban NAME [TIME] [REASON]    take NAME out and keep NAME out, for 10m, 2h, 7d or for ever
*   /unban NAME                  let NAME in again
*   /mute NAME [TIME] [REASON]   let NAME read only
*   /unmute NAME                 let NAME talk again
*   /slow TIME                   from everyone a message in TIME at most: 10s; /slow off
*   /role NAME ROLE              make NAME an owner, moderator, member or reader
*   /access ACCESS               make it public, invite or private
* And a new one: /create ROOM [ACCESS] [TOPIC]
""",
    "operator": """\
*   /users [NAME]              all accounts, or those after NAME
*   /adduser NAME [PASSWORD]   make an account
*   /audit [N]                 the last N acts of moderators and operators
* fastchat user --help and fastchat room --help tell of commands that do more.
""",
}
"""By topic; what there is without one is the empty topic's."""
