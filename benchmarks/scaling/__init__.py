"""How a chat of several nodes grows: what is measured for it, and what follows for so many people."""
