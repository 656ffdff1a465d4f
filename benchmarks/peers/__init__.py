"""fastchat beside what one would otherwise pick: the same load on each, one at a time on one core."""
