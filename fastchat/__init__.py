"""fastchat: a chat server. A room is a log, a subscriber is a cursor."""
